/** The ledger, sessions and re-pricing: their filter, and copying of their table. */

import { connectTableCopies } from "../copy";
import { connectFilters } from "../ui/filter";

connectFilters();
connectTableCopies();
