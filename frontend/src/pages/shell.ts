/** What the frame of every signed-in page does: the vault's state, and forgetting when somebody signs out. */

import { connectSignOut, connectVaultIndicator } from "../vault-indicator";

const button = document.querySelector<HTMLButtonElement>("button[data-vault-state]");
if (button) connectVaultIndicator(button);
for (const form of document.querySelectorAll<HTMLFormElement>("form[data-sign-out]")) connectSignOut(form);
