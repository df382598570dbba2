/** Charts of templates/analytics/chart.html, drawn from their tables: one source for eyes, screen readers and copying.

The server's table says everything: a column for each series (`th[data-series]`), one for the period before
(`th[data-before]`), values in `data-value`, what to write in a tooltip as the cell's text, and where a point leads as
its link. Colours are those of the legend, which follow the theme. Nothing moves, so nothing has to be reduced. */

import {
  BarController,
  BarElement,
  CategoryScale,
  Chart,
  type ChartDataset,
  type ChartOptions,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
} from "chart.js";

import { connectCopy, tableText } from "../copy";
import { element, required } from "./dom";

Chart.register(BarController, BarElement, CategoryScale, LinearScale, LineController, LineElement, PointElement, Tooltip);

interface Point {
  value: number | null;
  /** As people read it, every digit. */
  text: string;
  href: string | undefined;
}

interface Series {
  label: string;
  isBefore: boolean;
  points: Point[];
}

interface Table {
  labels: string[];
  hrefs: (string | undefined)[];
  series: Series[];
  /** Below each tooltip: what the row comes to, and what that leaves out. */
  notes: string[][];
}

function readPoint(cell: HTMLTableCellElement | undefined): Point {
  const value = cell?.dataset["value"];
  return {
    value: value === undefined ? null : Number(value),
    text: cell?.textContent?.trim() ?? "",
    href: cell?.querySelector("a")?.href,
  };
}

function readTable(table: HTMLTableElement): Table {
  const rows = [...(table.tBodies[0]?.rows ?? [])];
  const headers = [...(table.tHead?.rows[0]?.cells ?? [])];
  const series: Series[] = [];
  const notes = rows.map((): string[] => []);
  headers.forEach((header, column) => {
    const [label, isBefore] = [header.textContent?.trim() ?? "", header.dataset["before"] !== undefined];
    if (header.dataset["series"] !== undefined || isBefore) {
      series.push({ label, isBefore, points: rows.map((row) => readPoint(row.cells[column])) });
    } else if (column > 0) {
      rows.forEach((row, index) => {
        const text = row.cells[column]?.textContent?.trim() ?? "—";
        if (text !== "—") notes[index]?.push(`${label}: ${text}`);
      });
    }
  });
  return {
    labels: rows.map((row) => row.cells[0]?.textContent?.trim() ?? ""),
    hrefs: rows.map((row) => row.cells[0]?.querySelector("a")?.href),
    series,
    notes,
  };
}

/** How a number of the scale is written, short: the exact one is in the tooltip. */
function scaleText(unit: string): (value: number) => string {
  if (unit === "durations" || unit === "first_tokens") {
    return (value) => (value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toLocaleString("en")} s`);
  }
  if (unit === "throughputs") return (value) => `${value.toLocaleString("en")}/s`;
  const isCurrency = /^[A-Z]{3}$/.test(unit);
  return (value) => {
    const short = { notation: Math.abs(value) < 10_000 ? "standard" : "compact", maximumSignificantDigits: 3 } as const;
    if (!isCurrency) return value.toLocaleString("en", short);
    const digits = value === 0 || Math.abs(value) >= 10_000 || Math.abs(value) < 0.01 ? short : { minimumFractionDigits: Math.abs(value) < 100 ? 2 : 0 };
    return value.toLocaleString("en", { ...digits, style: "currency", currency: unit });
  };
}

/** Draws the chart of a `<figure data-chart="bars|lines" data-unit>`, and lets people have its table instead. */
export function connectChart(figure: HTMLElement): void {
  const frame = required(figure, ".chart-canvas");
  const holder = required(figure, ".chart-table");
  const table = required<HTMLTableElement>(figure, "table");
  const read = readTable(table);
  const keys = [...figure.querySelectorAll<HTMLElement>(".chart-key")];
  const isBars = figure.dataset["chart"] === "bars";
  const unit = figure.dataset["unit"] ?? "";
  const caption = table.caption?.textContent?.trim() ?? "";
  const canvas = element("canvas", { role: "img", "aria-label": `${caption}, as a chart. The table has the same.` });
  frame.append(canvas);
  frame.hidden = false;

  const datasets = read.series.map((series): ChartDataset<"bar" | "line", (number | null)[]> => {
    const data = series.points.map((point) => point.value);
    if (isBars && !series.isBefore) {
      return { type: "bar", label: series.label, data, order: 1, maxBarThickness: 44, categoryPercentage: 0.82, barPercentage: 1 };
    }
    return {
      type: "line",
      label: series.label,
      data,
      order: 0,
      borderWidth: 2,
      borderDash: series.isBefore ? [3, 4] : [],
      pointRadius: read.labels.length === 1 || !series.isBefore && read.labels.length < 16 ? 3 : 0,
      pointHoverRadius: 4,
      pointHitRadius: 8,
      spanGaps: true,
      tension: 0,
    };
  });

  // A line over bars has a rim of the surface, in whatever colours it crosses.
  const before = datasets.find((_, index) => read.series[index]?.isBefore);
  const rim = before && { ...before, stack: "rim", borderDash: [], borderWidth: 5, pointHoverRadius: 0, order: 0.5 };
  if (rim) datasets.push(rim);

  const options: ChartOptions<"bar" | "line"> = {
    animation: false,
    maintainAspectRatio: false,
    interaction: { mode: "index", intersect: false },
    scales: {
      x: {
        stacked: isBars,
        grid: { display: false },
        border: { display: true },
        ticks: {
          maxRotation: 0,
          autoSkipPadding: 20,
          // The day of the week is in the table.
          callback: (_, index) => (read.labels[index] ?? "").replace(/^[A-Z][a-z]{2} (?=\d)/, ""),
        },
      },
      y: {
        stacked: isBars,
        beginAtZero: true,
        grid: { display: true },
        border: { display: false },
        ticks: {
          maxTicksLimit: 6,
          callback: (value) => scaleText(unit)(Number(value)),
          // There is no half a call.
          ...(unit === "calls" || unit === "tokens" ? { precision: 0 } : {}),
        },
      },
    },
    plugins: {
      tooltip: {
        // None of what is not there.
        filter: (item) => read.series[item.datasetIndex]?.points[item.dataIndex]?.value != null,
        itemSort: (one, other) => (isBars ? one.datasetIndex - other.datasetIndex : 0),
        callbacks: {
          label: (item) => ` ${item.dataset.label}: ${read.series[item.datasetIndex]?.points[item.dataIndex]?.text}`,
          footer: ([item]) => (item && read.notes[item.dataIndex]) ?? [],
        },
        boxPadding: 4,
        cornerRadius: 7,
        padding: 10,
      },
    },
    onClick: (event, _, drawn) => {
      const href = target(drawn, event.native);
      // Where nothing can hover, a touch asks what a bar says; its rows are behind the table's links.
      if (href && matchMedia("(hover: hover)").matches) location.assign(href);
    },
    onHover: (event, _, drawn) => {
      canvas.classList.toggle("chart-leads", target(drawn, event.native) !== undefined);
    },
  };

  /** Where the point below the pointer leads: its own rows, or those of all at its time. */
  const target = (drawn: Chart, event: Event | null): string | undefined => {
    if (!event) return undefined;
    const [exact] = drawn.getElementsAtEventForMode(event, "nearest", { intersect: true }, false);
    const own = exact && read.series[exact.datasetIndex]?.points[exact.index]?.href;
    const [near] = drawn.getElementsAtEventForMode(event, "index", { intersect: false }, false);
    return own ?? (near && read.hrefs[near.index]);
  };

  const paint = (): void => {
    const { color, borderTopColor: line, backgroundColor: surface, fontFamily } = getComputedStyle(frame);
    const ink = getComputedStyle(figure).color;
    datasets.forEach((dataset, index) => {
      const own = dataset === rim ? surface : getComputedStyle(keys[index] ?? frame).backgroundColor;
      if (dataset.type === "line") Object.assign(dataset, { borderColor: own, backgroundColor: own });
      // Parts of a bar are told apart by more than their colours.
      else Object.assign(dataset, { backgroundColor: own, borderColor: surface, borderWidth: { top: 1 }, borderSkipped: false });
    });
    const font = { family: fontFamily, size: 12 };
    for (const scale of [options.scales?.["x"], options.scales?.["y"]]) {
      Object.assign(scale?.ticks ?? {}, { color, font });
      Object.assign(scale?.grid ?? {}, { color: line });
      Object.assign(scale?.border ?? {}, { color: line });
    }
    Object.assign(options.plugins?.tooltip ?? {}, {
      backgroundColor: surface,
      borderColor: line,
      borderWidth: 1,
      titleColor: ink,
      bodyColor: ink,
      footerColor: ink,
      titleFont: { ...font, weight: 600 },
      bodyFont: font,
      footerFont: { ...font, weight: 600 },
    });
  };
  paint();
  const chart = new Chart<"bar" | "line", (number | null)[]>(canvas, { type: isBars ? "bar" : "line", data: { labels: read.labels, datasets }, options });

  const repaint = (): void => {
    paint();
    chart.options = options;
    chart.update();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-theme"] });

  let isTable = false;
  const toggle = element("button", { type: "button", class: "button button-quiet button-small" });
  const show = (): void => {
    toggle.textContent = isTable ? "Show as chart" : "Show as table";
    holder.classList.toggle("chart-table-unseen", !isTable);
    frame.hidden = isTable;
    // A link that nobody sees must not take the focus; screen readers reach it in the table.
    for (const link of holder.querySelectorAll("a")) {
      if (isTable) link.removeAttribute("tabindex");
      else link.tabIndex = -1;
    }
  };
  toggle.addEventListener("click", () => {
    isTable = !isTable;
    show();
  });
  const copy = element("button", { type: "button", class: "button button-quiet button-small", hidden: true }, "Copy the table");
  connectCopy(copy, () => tableText(table));
  figure.append(element("div", { class: "chart-tools" }, toggle, copy));
  show();
}
