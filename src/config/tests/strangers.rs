//! What strangers write never ends the program, and what is written is read back.

use proptest::prelude::*;

use super::super::rows::TableArray;
use super::*;

proptest! {
    #[test]
    fn no_text_ends_the_program(text in any::<String>()) {
        // Either answer will do.
        drop(load(&file(&text)));
    }

    #[test]
    fn no_value_of_any_key_ends_the_program(
        key in proptest::sample::select(keys().iter().map(|key| key.path).collect::<Vec<_>>()),
        value in prop_oneof![
            any::<String>().prop_map(|text| quote(&text)),
            any::<i128>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| format!("{number:?}").replace("NaN", "nan")),
            "[\\[\\]{}\",=a-z0-9 .:-]{0,24}",
            "\"[0-9]{0,22}[a-zA-Z]{0,3}\"",
            "\\[(\"[a-z:/0-9@.*]{0,12}\",){0,4}\\]",
        ],
    ) {
        let text = match (TableArray::of_key(key), key.rsplit_once('.')) {
            (Some(array), Some((_, name))) => format!("[[{}]]\n{name} = {value}", array.path),
            _single => format!("{key} = {value}"),
        };
        // A faulty file tells where; a sound one is shown and read back.
        match describe(&file(&text)) {
            Ok(shown) => prop_assert!(load(&file(&shown)).is_ok(), "{shown}"),
            Err(faults) => prop_assert!(faults.to_string().starts_with("tollgate.toml:"), "{faults}"),
        }
    }

    #[test]
    fn no_variable_ends_the_program(
        name in "TOLLGATE_[A-Z_]{0,20}|TOLLGATE_LISTEN__HOSTS|TOLLGATE_UPSTREAM__CONNECT",
        value in any::<String>(),
    ) {
        drop(load(&env(&[(&name, &value)])));
    }

    #[test]
    fn durations_are_read_back(millis in any::<u32>()) {
        let written = std::time::Duration::from_millis(u64::from(millis));
        prop_assert_eq!(duration(&show_duration(written)), Ok(written));
    }

    #[test]
    fn sizes_are_read_back(bytes in any::<u64>()) {
        prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
    }

    #[test]
    fn no_unit_ends_the_program(text in any::<String>()) {
        drop((duration(&text), size(&text)));
    }
}

#[test]
fn deep_nesting_is_a_fault() {
    for text in [format!("a = {}", "[".repeat(100_000)), format!("a{} = 1", ".a".repeat(100_000))] {
        load(&file(&text)).unwrap_err();
    }
}

#[test]
fn a_line_of_a_megabyte_is_read_in_a_moment() {
    let many = "1,".repeat(400_000);
    for text in [format!("listen.hosts = [{many}]"), "x = { ".to_owned() + &"a = 1, ".repeat(100_000) + "}"] {
        load(&file(&text)).unwrap_err();
    }
    let unknown: String = (0..60_000).map(|n| format!("x{n} = 1, ")).collect();
    load(&file(&format!("gate = {{ {unknown} }}"))).unwrap_err();
}
