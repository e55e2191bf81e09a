//! Whatever happens in which order, the tier says what a plain map with the same bound would say.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Keep(u8, usize),
    Read(u8),
    Remove(u8),
    RemoveBelow(u8),
    Clear,
    Damage(u8),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..8_u8;
    let step = prop_oneof![
        8 => (key.clone(), 0..40_000_usize).prop_map(|(key, length)| Step::Keep(key, length)),
        6 => key.clone().prop_map(Step::Read),
        2 => key.clone().prop_map(Step::Remove),
        1 => key.clone().prop_map(Step::RemoveBelow),
        1 => Just(Step::Clear),
        1 => key.prop_map(Step::Damage),
        2 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..40)
}

/// What must be kept: contents in the order of their use, the last used one last.
#[derive(Default)]
struct Model(Vec<(u8, Vec<u8>)>);

impl Model {
    fn remove(&mut self, is_chosen: impl Fn(u8) -> bool) {
        self.0.retain(|(key, _)| !is_chosen(*key));
    }

    fn keep(&mut self, key: u8, body: Vec<u8>) {
        if self.0.iter().any(|(known, kept)| *known == key && *kept == body) {
            return;
        }
        self.remove(|known| known == key);
        self.0.push((key, body));
        while self.0.len() > MAX_ENTRIES || self.bytes() > MAX_BYTES {
            self.0.remove(0);
        }
    }

    fn bytes(&self) -> u64 {
        let file = |key: u8, body: &[u8]| {
            format::file_bytes(&path(key), &meta(body.len()), format::length(body)).unwrap()
        };
        self.0.iter().map(|(key, body)| file(*key, body)).sum()
    }
}

fn path(key: u8) -> String {
    format!("/v1/contents/{key}")
}

const MAX_BYTES: u64 = 100_000;
const MAX_ENTRIES: usize = 5;

async fn check(steps: &[Step]) {
    let mut world = World::bounded(MAX_BYTES, MAX_ENTRIES);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Keep(key, length) => {
                let body = bytes(*length, u32::from(*key));
                world.keep(&path(*key), &body);
                model.keep(*key, body);
            }
            Step::Read(key) => {
                let expected =
                    model.0.iter().position(|(known, _)| known == key).map(|at| model.0.remove(at));
                assert_eq!(world.body(&path(*key)).await, expected.clone().map(|(_, body)| body), "{step:?}");
                model.0.extend(expected);
            }
            Step::Remove(key) => {
                world.disk.remove(&path(*key));
                model.remove(|known| known == *key);
            }
            Step::RemoveBelow(key) => {
                let bound = path(*key);
                world.disk.remove_where(|known| known < bound.as_str());
                model.remove(|known| known < *key);
            }
            Step::Clear => {
                world.disk.clear();
                model.remove(|_| true);
            }
            Step::Damage(key) => {
                if let Ok(mut file) = fs::read(world.path(&path(*key))) {
                    let last = file.len() - 1;
                    file[last] ^= 1;
                    fs::write(world.path(&path(*key)), file).unwrap();
                    assert!(world.body(&path(*key)).await.is_none());
                }
                model.remove(|known| known == *key);
            }
            Step::Restart => world = world.restarted(|_| {}),
        }
        world.settle();
        let mut kept: Vec<_> = (0..8).filter(|key| world.disk.find(&path(*key)).is_some()).collect();
        kept.sort();
        let mut expected: Vec<_> = model.0.iter().map(|(key, _)| *key).collect();
        expected.sort();
        assert_eq!(kept, expected, "{step:?}");
        let glance = world.disk.glance();
        assert_eq!((glance.bytes, glance.dropped), (model.bytes(), 0), "{step:?}");
        assert_eq!(world.names().len(), kept.len(), "{step:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_happens_the_last_used_contents_are_kept_within_the_bounds(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(check(&steps));
    }

    #[test]
    fn no_bytes_of_a_file_panic(file in proptest::collection::vec(any::<u8>(), 0..200), head in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = if head { [b"tollgate\x01\0\0\0".as_slice(), &file].concat() } else { file };
        fs::write(&path, file).unwrap();
        // Whatever it says, it is no file of ours.
        assert!(format::Head::read(&File::open(&path).unwrap()).is_err());
    }
}
