/** Every page's script. Pages are complete without it: what it brings to life is hidden until it runs. */

import { connectCopyButtons } from "./copy";
import { connectThemeToggle } from "./theme";
import { connectConfirmedForm, connectDialogButtons } from "./ui/dialog";
import { connectMenu } from "./ui/menu";
import { connectPasswordToggle } from "./ui/password";
import { connectTabs, scrollToCurrent } from "./ui/tabs";
import { connectTimes } from "./ui/time";
import { announce } from "./ui/toast";

for (const button of document.querySelectorAll<HTMLButtonElement>("[data-theme-toggle]")) connectThemeToggle(button);
for (const menu of document.querySelectorAll<HTMLDetailsElement>("details[data-menu]")) connectMenu(menu);
for (const root of document.querySelectorAll<HTMLElement>("[data-tabs]")) connectTabs(root);
for (const tab of document.querySelectorAll<HTMLElement>(".tabs > [aria-current]")) scrollToCurrent(tab);
for (const form of document.querySelectorAll<HTMLFormElement>("form[data-confirm]")) connectConfirmedForm(form);
for (const button of document.querySelectorAll<HTMLButtonElement>("[data-password-toggle]")) connectPasswordToggle(button);
for (const list of document.querySelectorAll<HTMLElement>("[data-messages]")) announce(list.innerText);
connectDialogButtons();
connectCopyButtons();
connectTimes();
