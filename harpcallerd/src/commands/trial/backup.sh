#!/bin/sh
# Its arguments come as JSON, and its result is what it would do with them.
printf '{"would_back_up": %s}\n' "$(cat)"
