#!/usr/bin/env bash
# Makes what a release consists of, below target/dist: the static binary, the Debian package, the bill of materials, the sums,
# and the image where a docker daemon answers. About ten minutes on two cores; reaches the registry of crates (and docker's for
# the build image).
#
#   deploy/release.sh X.Y.Z      from a clean commit whose Cargo.toml and CHANGELOG.md say X.Y.Z
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'release: %s\n' "$*" >&2; exit 1; }
step() { printf '\n== %s\n' "$*"; }

version=${1:-}
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "name the version: X.Y.Z"
[[ -z $(git status --porcelain) ]] || fail "the tree has changes that are not committed"
[[ $(cargo pkgid) == *"#$version" || $(cargo pkgid) == *"@$version" ]] || fail "Cargo.toml says another version"
[[ $(deploy/profile/use.sh --of) == "$(<deploy/profile/counts.of)" ]] || fail "its counts are of something else: deploy/profile/take.sh"
grep -q "^## $version\b" CHANGELOG.md || fail "CHANGELOG.md has no section $version"

# All timestamps in what is made are the commit's, so that two runs give the same.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
host=$(rustc -vV | sed -n 's/^host: //p')
tools=$PWD/target/tools
dist=target/dist
name=tollgate-$version-$host
rm -rf "$dist"
mkdir -p "$dist/$name"

step "tools"
cargo install --quiet --locked --root "$tools" --target-dir target/tools-build cargo-deb@3.8.0 cargo-cyclonedx@0.5.9
export PATH=$tools/bin:$PATH

step "dependencies"
tests/supply.sh
if [[ -z ${TOLLGATE_ADVISORIES:-} ]]; then
    echo "known faults not asked for: TOLLGATE_ADVISORIES names no clone of RustSec's database"
fi

step "static binary"
binary=$(deploy/profile/build.sh target/static -C target-feature=+crt-static)
if ((EUID == 0)); then
    deploy/check-static.sh "$binary"
else
    echo "not run in an empty root: that needs root, see deploy/check-static.sh"
fi
cp "$binary" README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT SECURITY.md config/tollgate.toml \
    deploy/systemd/tollgate.service "$dist/$name/"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$dist" -cf - "$name" | gzip -n >"$dist/$name.tar.gz"
rm -r "${dist:?}/$name"

step "Debian package"
deploy/profile/build.sh
cargo deb --quiet --locked --no-build --target "$host" --output "$dist/"

step "bill of materials"
cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$host" --override-filename "$name.cdx"
mv "$name.cdx.json" "$dist/"

step "image"
if docker info >/dev/null 2>&1; then
    docker build --tag "tollgate:$version" .
else
    echo "not built: no docker daemon answers"
fi

(cd "$dist" && sha256sum -- *.tar.gz *.deb *.json >SHA256SUMS)
step "made"
cat "$dist/SHA256SUMS"
echo "to publish: git tag -a v$version -m $version"
