#!/bin/sh
# Prints the hosts that can be called, one JSON object a line: harpcaller.toml(5), "HOSTS".
cat <<'END'
ENTRY
END
