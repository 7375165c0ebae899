//! Plans that TypeScript wrote, when there are any.

use statespace_plan::check;

#[test]
fn shipped_plans_are_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test/golden/plans");
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "json") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(check(&text).err(), None, "{}", path.display());
        }
    }
}
