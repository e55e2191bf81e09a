//! Whatever a configuration file says, it is either refused, each fault with its place and without the credential that stands
//! there, or it prints as a file that says the same.
//!
//! Input: the file.

use tollgate::config::{FileText, MAX_FILE_BYTES, Overrides, Sources, describe, load};

/// Panics where the property does not hold.
pub fn holds(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let first = sources(text);
    let told = match describe(&first) {
        Err(faults) => {
            let lines = text.split('\n').count();
            for fault in faults.iter() {
                check_place(&fault.to_string(), lines);
            }
            faults.to_string()
        }
        Ok(shown) => {
            let second = sources(&shown);
            let again = describe(&second).unwrap_or_else(|faults| panic!("{faults}\nin {shown}"));
            assert_eq!(values(&shown), values(&again), "printed, read and printed again");
            if !text.contains('@') {
                let [first, second] =
                    [&first, &second].map(|sources| format!("{:?}", load(sources).unwrap()));
                assert_eq!(first, second, "printed and read: {shown}");
            }
            shown
        }
    };
    assert!(told.len() < MAX_FILE_BYTES, "a short file makes a long story");
    // Elsewhere the word may be the name of a key, or a value that nobody takes for a credential.
    if text.contains(SECRET) && !text.replace(CREDENTIAL, "").contains(SECRET) {
        assert!(!told.contains(SECRET), "{told}");
    }
}

fn check_place(fault: &str, lines: usize) {
    let place = fault.strip_prefix(NAME).and_then(|rest| rest.strip_prefix(':'));
    let mut numbers = place.unwrap_or_default().splitn(3, ':').map(|part| part.parse::<usize>().unwrap_or(0));
    let (line, column) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    assert!((1..=lines).contains(&line) && column >= 1, "no place in {fault}");
}

fn sources(text: &str) -> Sources {
    let file = FileText { name: NAME.to_owned(), text: text.to_owned() };
    Sources { file: Some(file), env: Vec::new(), flags: Overrides::none() }
}

/// What is printed, without where it came from.
fn values(shown: &str) -> Vec<&str> {
    shown.lines().map(|line| line.rsplit_once("  # ").map_or(line, |(value, _)| value).trim_end()).collect()
}

const NAME: &str = "tollgate.toml";
const SECRET: &str = "s3cr3t";
/// Where a URL holds one.
const CREDENTIAL: &str = "://u:s3cr3t@";
