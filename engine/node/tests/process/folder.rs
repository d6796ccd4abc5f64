//! The data folder: whose it is, and what happens when it is damaged.

use crate::engine::{Engine, refused_start};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn a_folder_of_another_cluster_or_node_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    Engine::start(folder.path()).stop();
    let before = contents(folder.path());
    let (code, stderr) = refused_start(folder.path(), &["--cluster-name", "other"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("`holdfast`") && stderr.contains("`other`"),
        "{stderr}"
    );
    let peers = [
        "--id",
        "2",
        "--peer",
        "1=127.0.0.1:1",
        "--peer",
        "2=127.0.0.1:2",
    ];
    let (code, stderr) = refused_start(folder.path(), &peers);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("belongs to node 1, not to node 2"),
        "{stderr}"
    );
    assert!(contents(folder.path()) == before, "nothing was touched");
}

/// A member that forgot its peers would be a cluster of one with the data of three, and one that is told peers would
/// wait for votes that it never needed: both are refused, and nothing is touched.
#[test]
fn a_folder_of_other_members_is_refused() {
    let three = [
        "--peer",
        "1=127.0.0.1:1",
        "--peer",
        "2=127.0.0.1:2",
        "--peer",
        "3=127.0.0.1:3",
    ];
    let ports = ["--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"];
    for (before, after, words) in [
        (
            &three[..],
            &[][..],
            "of the nodes 1, 2, 3, not to one of the nodes 1:",
        ),
        (
            &[],
            &three[..],
            "of the nodes 1, not to one of the nodes 1, 2, 3:",
        ),
        (
            &three,
            &three[..4],
            "of the nodes 1, 2, 3, not to one of the nodes 1, 2:",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        Engine::start_with(folder.path(), &[&ports[..], before].concat()).stop();
        let held = contents(folder.path());
        let (code, stderr) = refused_start(folder.path(), after);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
        assert!(contents(folder.path()) == held, "nothing was touched");
        Engine::start_with(folder.path(), &[&ports[..], before].concat()).stop();
    }
}

#[test]
fn damage_in_the_middle_of_the_log_is_named_and_nothing_is_deleted() {
    for stop in [Engine::stop as fn(Engine), Engine::kill] {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = Engine::start(folder.path());
        for key in 0..20 {
            engine.kv_out(&["put", &format!("key-{key:02}"), &"v".repeat(200)]);
        }
        stop(engine);
        let log = folder.path().join("replica/log/0000000000000001.log");
        let mut bytes = fs::read(&log).expect("a log");
        let at = find(&bytes, b"key-07") + 20;
        for byte in &mut bytes[at..at + 8] {
            *byte ^= 0xff;
        }
        fs::write(&log, &bytes).expect("written");

        let (code, stderr) = refused_start(folder.path(), &[]);
        assert_eq!(code, Some(1), "{stderr}");
        // An election's empty entry comes first, then the puts: key-07 is the ninth record.
        assert!(
            stderr.contains("records 9 to 9 are damaged"),
            "the record is named: {stderr}"
        );
        assert!(
            stderr.contains("0000000000000001.log"),
            "the file is named: {stderr}"
        );
        assert!(
            fs::read(&log).expect("a log") == bytes,
            "the log is as it was"
        );

        // The same bytes put right: all of it is there.
        for byte in &mut bytes[at..at + 8] {
            *byte ^= 0xff;
        }
        fs::write(&log, &bytes).expect("written");
        let engine = Engine::start(folder.path());
        assert_eq!(
            engine.kv_out(&["get", "key-19"]),
            format!("{}\n", "v".repeat(200))
        );
        assert_eq!(engine.kv_out(&["list", "key-"]).lines().count(), 20);
    }
}

/// A file of the replica that is damaged is named and left as it is, not begun anew: what was acknowledged may be in no other.
#[test]
fn a_damaged_snapshot_or_hard_state_is_named_and_nothing_is_deleted() {
    for (name, word) in [("snapshot-", "snapshot"), ("hard-state", "hard state")] {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("engine.toml");
        let data = folder.path().join("data");
        std::fs::write(&config, "[raft]\nsnapshot_entries = 10\nkeep_entries = 1\n")
            .expect("written");
        let arguments = ["--config", config.to_str().expect("text")];
        let ports = ["--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"];
        let start = || Engine::start_with(&data, &[&ports[..], &arguments].concat());
        let engine = start();
        for key in 0..25 {
            let key = format!("key-{key:02}");
            engine.kv_out(&["put", &key, "v", "--timeout", "60s"]);
        }
        engine.stop();
        let whole = contents(&data);
        let is_hit = |file: &Path| {
            let file = file.strip_prefix(data.join("replica")).unwrap_or(file);
            file.to_str().expect("text").starts_with(name)
        };
        let hit: Vec<&PathBuf> = whole.keys().filter(|file| is_hit(file)).collect();
        assert!(!hit.is_empty(), "{name} among {:?}", whole.keys());
        for file in &hit {
            let damaged: Vec<u8> = whole[*file].iter().map(|byte| byte ^ 0x55).collect();
            fs::write(file, damaged).expect("written");
        }
        let damaged = contents(&data);
        let (code, stderr) = refused_start(&data, &arguments);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(word), "{name}: {stderr}");
        let after = contents(&data);
        assert!(
            after.keys().eq(damaged.keys()),
            "{name}: {:?}",
            after.keys()
        );
        for file in hit {
            assert!(after[file] == damaged[file], "it is left as it was");
            fs::write(file, &whole[file]).expect("written");
        }
        let engine = start();
        let listed = engine.kv_out(&["list", "--timeout", "60s"]);
        assert_eq!(listed.lines().count(), 25);
    }
}

#[test]
fn a_damaged_identity_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    Engine::start(folder.path()).stop();
    let file = folder.path().join("identity");
    let text = fs::read_to_string(&file).expect("an identity");
    fs::write(&file, text.replace("node = 1", "node = 3")).expect("written");
    let (code, stderr) = refused_start(folder.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("identity is damaged"), "{stderr}");
}

/// Every file under a folder and what is in it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            let bytes = fs::read(&path).expect("a file");
            files.insert(path, bytes);
        }
    }
    files
}

fn find(haystack: &[u8], needle: &[u8]) -> usize {
    let at = haystack
        .windows(needle.len())
        .position(|window| window == needle);
    at.expect("the key is in the log")
}
