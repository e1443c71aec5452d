#!/usr/bin/env bash
# Installs mosquitto where it is missing. The controller runs one of its own, with its own configuration,
# port and data; a system-wide mosquitto service is left alone.
set -euo pipefail

PATH=$PATH:/usr/sbin:/usr/local/sbin
if command -v mosquitto >/dev/null; then exit 0; fi
command -v apt-get >/dev/null || { echo "setup: mosquitto is missing: install it with your package manager" >&2; exit 1; }
run=()
if [ "$(id -u)" != 0 ]; then
  if sudo -n true 2>/dev/null; then run=(sudo); else
    echo "setup: mosquitto is missing, and installing it needs rights: sudo apt-get install mosquitto" >&2; exit 1
  fi
fi
echo "setup: installing mosquitto with apt-get"
export DEBIAN_FRONTEND=noninteractive
"${run[@]}" apt-get update -qq >/dev/null || echo "setup: apt-get update failed; trying with the lists that are here" >&2
"${run[@]}" apt-get install -y -qq --no-install-recommends mosquitto >/dev/null \
  || { echo "setup: installing mosquitto failed; run: sudo apt-get install mosquitto" >&2; exit 1; }
