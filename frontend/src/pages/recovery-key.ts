/** The page of the encryption recovery key, in the account and in the first steps. */

import { connectRecoveryKey } from "../recovery-key";
import { required } from "../ui/dom";

connectRecoveryKey(required(document, "[data-recovery-key]"));
