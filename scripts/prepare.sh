# Sourced by ./start, ./test, ./tenantry and .ci/run: finds or installs the npm packages and a Node that runs TypeScript.
# Takes ROOT (the checkout) and PACKAGES: prod (what the platform needs) or all (tests and tools too). Sets NODE.
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "Tenantry needs Node.js 20 or newer and npm: https://nodejs.org" >&2
  exit 1
fi
if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
  echo "Tenantry needs Node.js 20 or newer; this is $(node --version)" >&2
  exit 1
fi

# The stamp says which lock file is installed, and whether with development packages.
stamp="$ROOT/node_modules/.tenantry-installed"
lock=$(cksum <"$ROOT/package-lock.json")
installed=$(cat "$stamp" 2>/dev/null || true)
if [ "$installed" != "all $lock" ] && [ "$installed" != "$PACKAGES $lock" ]; then
  echo "Installing npm packages ..." >&2
  # Of peers nothing is used that runs; one of them is 26 MB.
  if [ "$PACKAGES" = all ]; then omit=""; else omit="--omit=dev --omit=peer"; fi
  # Not `npm ci`: that refuses a lock file in which a registry lacked a tool's package for some other platform.
  (cd "$ROOT" && npm install --no-save $omit --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
  echo "$PACKAGES $lock" >"$stamp"
fi

# Node runs .ts files by itself from 22.18; an older one gets the Node that npm installed beside the packages.
NODE=node
if ! node -e 'const [a,b]=process.versions.node.split(".").map(Number);process.exit(a>24||(a===24&&b>=12)?0:1)'; then
  NODE="$ROOT/node_modules/.bin/node"
  if [ ! -x "$NODE" ]; then
    echo "Tenantry needs Node.js 24.12 or newer on this platform; this is $(node --version)" >&2
    exit 1
  fi
fi
