# Commands for people who work on Custodia. `just` lists them; each is short enough to type without it.

set shell := ["bash", "-euo", "pipefail", "-c"]

_default:
    @just --justfile {{ justfile() }} --list

# Build everything once, so that what follows is quick.
setup:
    cargo build --workspace --all-targets

# The tour: a server with synthetic patients on this machine.
demo:
    cargo run --release -- demo

# The tests, against a real PostgreSQL that they start themselves.
test *args:
    cargo test {{ args }}

# Exactly what CI runs.
check:
    .ci/run

# The load generator; `just bench --help` tells what it asks for.
bench *args:
    cargo run --release -p custodia-load -- {{ args }}

# What recording costs a read, against a build that records none (in target/null-ledger; it refuses to be a real server).
null-ledger seconds="10" rounds="3":
    cargo build --release -p custodia -p custodia-load
    CARGO_TARGET_DIR=target/null-ledger RUSTFLAGS="--cfg custodia_null_ledger" cargo build --release -p custodia --bin custodia
    tests/load/null-ledger target/release target/null-ledger/release {{ seconds }} {{ rounds }}

# A million entries: custodia-verify must take less than a minute and no more memory than for ten thousand.
verify-long entries="1000000":
    CUSTODIA_LARGE_ENTRIES={{ entries }} cargo test --release -p custodia-audit --test large -- --nocapture

# An export of so many entries, in constant memory: in every form (7 KB of disk an entry), or `bundle` alone (2 KB).
export-long entries="10000000" forms="all":
    CUSTODIA_LARGE_ENTRIES={{ entries }} CUSTODIA_LARGE_FORMS={{ forms }} cargo test --release --test promises recorded::large -- --nocapture

# Property tests with many more cases than `just test` gives them (proptest reads the variable).
fuzz-long cases="100000":
    PROPTEST_CASES={{ cases }} cargo test --release

# The formats' parsers under libFuzzer, each target so many seconds: wants a nightly compiler and cargo-fuzz.
fuzz seconds="180":
    cd audit && for target in bundle notes witness entries; do \
        cargo +nightly fuzz run "$target" -- -max_total_time={{ seconds }} -max_len=65536; done

# Random searches against brute force over plaintext; the seed is printed, and CUSTODIA_SEARCH_SEED sets it.
search-long searches="200000":
    CUSTODIA_SEARCHES={{ searches }} cargo test --release --test search -- --nocapture

# FHIR clients that others wrote (Python and Node), against a demo over TLS. Fetches them once, by version and hash.
clients:
    tests/clients/run

# Four servers, 64 clients each, two logs side by side: the long form; CI runs one round of it.
shards-long rounds="20":
    CUSTODIA_SHARD_ROUNDS={{ rounds }} cargo test --release --test promises recorded::shards

# kill -9 under load, the long form: the server a hundred times, then PostgreSQL a hundred times.
chaos-long kills="100":
    cargo build --release -p custodia -p custodia-audit -p custodia-load
    target/release/custodia-load chaos --server target/release/custodia --kills {{ kills }} --clients 32

# The demo's home from nothing: stop the demo first. Its patients are synthetic, its keys go with it.
db-redo:
    rm -rf .custodia
    cargo run --release -- demo

# That every control of compliance/controls.toml still has its code and tests, then each command it names, once.
evidence:
    cargo test --test tidy
    while IFS= read -r command; do echo "$ $command"; bash -euo pipefail -c "$command" </dev/null; done \
        < <(sed -n 's/^command = "\(.*\)"$/\1/p' compliance/controls.toml | sort -u)
