//! What takes a service manager, a container engine or a cluster. The files that these blocks name are read by the programs
//! that they are for in `packages`.

use std::fs;
use std::path::Path;

use super::{Block, not_run};

/// The words of a block that name files of the repository; each must be there.
fn files(blocks: &[Block]) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let words = blocks.iter().flat_map(|block| block.text.split_whitespace());
    let files: Vec<_> = words.filter(|word| word.starts_with("deploy/")).collect();
    for file in &files {
        assert!(root.join(file).exists(), "{file}");
    }
    files.len()
}

/// `deploy/deb-test` runs each of these lines where there is a systemd.
pub fn by_the_test_of_the_package(blocks: &[Block]) {
    let test = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/deb-test");
    let test = fs::read_to_string(test).unwrap();
    for block in blocks {
        for command in block.text.lines().flat_map(|line| line.split(" && ")) {
            assert!(test.contains(command), "deploy/deb-test does not run {command:?}");
        }
        not_run(block, "deploy/deb-test runs it");
    }
    files(blocks);
}

pub fn as_a_container(blocks: &[Block]) {
    assert_eq!(files(blocks), 1);
    blocks.iter().for_each(|block| not_run(block, "it takes a container engine"));
}

pub fn in_kubernetes(blocks: &[Block]) {
    assert_eq!(files(blocks), 3);
    blocks
        .iter()
        .for_each(|block| not_run(block, "it takes a cluster; what it installs is checked by packages"));
}
