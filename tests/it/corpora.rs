//! The properties that the fuzzer tries hold for every input that it found worth keeping; `fuzz/run.sh` looks for more.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "a crate of its own, under the fuzzer")]
#[allow(clippy::expect_used, clippy::panic, reason = "a property that does not hold panics")]
mod properties;

/// The kept inputs of a target: one per line, escaped as `escape_ascii` does.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target).with_extension("txt");
    fs::read_to_string(file).unwrap().lines().map(unescaped).collect()
}

fn unescaped(line: &str) -> Vec<u8> {
    let mut signs = line.bytes();
    let mut bytes = Vec::new();
    while let Some(sign) = signs.next() {
        bytes.push(match sign {
            b'\\' => match signs.next().unwrap() {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [signs.next().unwrap(), signs.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            },
            plain => plain,
        });
    }
    bytes
}

#[test]
fn every_kept_input_keeps_its_property() {
    for (target, property) in properties::ALL {
        let inputs = kept(target);
        assert!(inputs.len() >= 10, "{target} has kept {} inputs", inputs.len());
        for input in inputs {
            assert_eq!(unescaped(&input.escape_ascii().to_string()), input);
            let is_held = std::panic::catch_unwind(|| property(&input));
            assert!(is_held.is_ok(), "{target} does not hold for {}", input.escape_ascii());
        }
    }
}
