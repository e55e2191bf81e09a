# Short names for the commands of CONTRIBUTING.md. CI calls `bash tests/all.sh`, nothing else.

# The list of recipes.
default:
    @just --list

# Everything that must hold before a merge.
check:
    bash tests/all.sh

# The quick half: formatting, lints, Rust tests, documentation.
test:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo test
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# The slow half: real clients against the real binary; arguments go to pytest.
clients *ARGS:
    cargo build
    bash tests/clients/run.sh {{ARGS}}

# Licences, versions, build scripts and origins of dependencies.
supply:
    bash tests/supply.sh

# Mixed load with faults and reloads for so many minutes, against the release binary.
soak MINUTES="10":
    tests/soak.sh {{MINUTES}}

# Time per request, in process.
bench:
    cargo bench

# A made-up Webex with limits, for trying things out by hand.
sim *ARGS:
    cargo run -- sim {{ARGS}}

# The proxy with its embedded defaults.
run *ARGS:
    cargo run --release -- {{ARGS}}

# 25 bots against a hidden limit, with and without the proxy.
demo:
    cargo run --release -- demo

# The image's static binary, built and run in an empty root (needs root; three minutes).
check-static *BINARY:
    deploy/check-static.sh {{BINARY}}

# The counts that releases are laid out by, taken anew (ten minutes).
profile:
    deploy/profile/take.sh

# What a release consists of, below target/dist: binary, package, bill of materials, sums, image.
release VERSION:
    deploy/release.sh {{VERSION}}
