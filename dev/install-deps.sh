#!/bin/sh
# Installs what building and testing Selvage needs on Debian 12, and only what is missing.
# With --check it only says what is missing.
set -eu

# command or file that shows a package is there : the package
needs="
clang:clang
llvm-strip:llvm
pkg-config:pkg-config
make:make
cc:gcc
ip:iproute2
ping:iputils-ping
nft:nftables
curl:curl
/usr/sbin/ovs-vswitchd:openvswitch-switch
/usr/include/libelf.h:libelf-dev
/usr/include/zlib.h:zlib1g-dev
/usr/sbin/dockerd:docker.io
/bin/busybox:busybox-static
"

missing=""
for need in $needs; do
	sign=${need%%:*}
	package=${need#*:}
	case $sign in
	/*) [ -e "$sign" ] || missing="$missing $package" ;;
	*) command -v "$sign" >/dev/null 2>&1 || missing="$missing $package" ;;
	esac
done

if ! command -v cargo >/dev/null 2>&1; then
	echo "install-deps: no cargo: install a Rust toolchain (rustup.rs) and run this again" >&2
	exit 4
fi
[ -n "$missing" ] || exit 0
if [ "${1:-}" = --check ]; then
	echo "install-deps: missing:$missing" >&2
	exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
	echo "install-deps: install these yourself, this is no Debian:$missing" >&2
	exit 4
fi
if [ "$(id -u)" != 0 ]; then
	echo "install-deps: root is needed to install:$missing" >&2
	exit 4
fi
echo "installing:$missing" >&2
# Tests start their own, private daemons; none is to be started here (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >&2 </dev/null
# shellcheck disable=SC2086 # a list of words
apt-get install -y -qq --no-install-recommends $missing >&2 </dev/null
