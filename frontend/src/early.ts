/** Runs before the first paint, so that a chosen theme never flashes in the wrong colours. */

import { applyTheme, chosenTheme } from "./theme";

applyTheme(chosenTheme());
