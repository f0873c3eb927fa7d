// Lines in a file that the host owns, rotates and syncs. Grant: journal. World: with-journal.

import * as host from "millrace:plugin/journal@0.1.0";
import { bytesOf } from "../text.js";

/** Appends one line; a line break inside ends the call with an error. */
export const append = (line) => host.append(bytesOf(line));
