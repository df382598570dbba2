/** The ledger, sessions and re-pricing: their filter, and copying of their table. */

import { connectTableCopies } from "../copy";
import { connectCompleteness } from "../ui/completeness";
import { connectFilters } from "../ui/filter";

connectFilters();
for (const line of document.querySelectorAll<HTMLElement>("[data-completeness]")) void connectCompleteness(line);
connectTableCopies();
