/** The ledger and re-pricing: their filter. */

import { connectFilters } from "../ui/filter";

connectFilters();
