# Sourced: `unpack PACKAGE...` puts what Debian's packages hold below the working directory. They are extracted, not installed:
# nothing starts as a service, no user is made, and what an installed one does is left alone.

unpack() {
    local package
    rm -f ./*.deb
    for package in "$@"; do
        if ! apt-get -qq download "$package" 2>/dev/null; then
            local as_root=()
            if ((EUID != 0)); then as_root=(sudo -n); fi
            "${as_root[@]}" apt-get update -qq
            apt-get -qq download "$package"
        fi
        dpkg-deb --extract "$package"_*.deb .
        rm "$package"_*.deb
    done
}
