/** Pages of sums: their filter, charts of their tables, and how complete they are. */

import { connectChart } from "../ui/chart";
import { connectCompleteness } from "../ui/completeness";
import { connectFilters } from "../ui/filter";

connectFilters();
for (const figure of document.querySelectorAll<HTMLElement>("figure[data-chart]")) connectChart(figure);
for (const line of document.querySelectorAll<HTMLElement>("[data-completeness]")) void connectCompleteness(line);
