/** Pages of sums: their filter, and charts of their tables. */

import { connectChart } from "../ui/chart";
import { connectFilters } from "../ui/filter";

connectFilters();
for (const figure of document.querySelectorAll<HTMLElement>("figure[data-chart]")) connectChart(figure);
