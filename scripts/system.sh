#!/usr/bin/env bash
# Debian packages that some tests want: a browser to look at reports, and fonts for Chinese in it.
set -euo pipefail
packages=(chromium fonts-noto-cjk)
missing=()
for package in "${packages[@]}"; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "· system packages are there: ${packages[*]}"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "make system knows Debian and Ubuntu only. Install by hand: ${missing[*]}" >&2
  exit 2
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "Run as root: apt-get install ${missing[*]}" >&2
  exit 2
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
echo "· installed: ${missing[*]}"
