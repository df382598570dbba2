/** Every page's script. Pages are complete without it: what it brings to life is hidden until it runs. */

import { connectCopyButton } from "./copy";
import { connectThemeToggle } from "./theme";

for (const button of document.querySelectorAll<HTMLButtonElement>("[data-theme-toggle]")) connectThemeToggle(button);
for (const block of document.querySelectorAll<HTMLElement>("[data-code]")) connectCopyButton(block);
