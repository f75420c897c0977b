use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::storage::Stage;
use super::*;

const LEN: usize = 1000;

/// Lion and SGD keep no second moments.
#[test]
fn an_empty_arena_of_second_moments_comes_back() {
    let run = Run::new();
    let [params, m, _] = arenas(3);
    let path = run.checkpoints().save(&state(3), Tensors { params: &params, m: &m, v: &[] }).unwrap();
    let (mut p, mut n) = (vec![0.0; LEN], vec![0.0; LEN]);
    CheckpointFolder::load(&path, TensorsMut { params: &mut p, m: &mut n, v: &mut [] }).unwrap();
    assert_eq!((p, n), (params, m));
    assert_eq!(run.latest().state, state(3));
}

#[test]
fn the_best_checkpoint_is_linked_and_stays() {
    let run = Run::new();
    (1..=5).for_each(|step| drop(run.save(step)));
    let best = || fs::read_link(run.root().join("best")).unwrap();
    for step in [4, 2] {
        run.checkpoints().link_best(step).unwrap();
        assert_eq!(best(), Path::new(&format!("step-{step}")));
    }
    run.checkpoints().link_best(9).unwrap();
    assert_eq!(best(), Path::new("step-2"), "there is no step-9 to link to");
    assert_eq!(run.checkpoints().prune(5, 1, Some(2)).unwrap(), [4, 3, 1]);
    assert_eq!(run.latest().state.step, 5);
    assert!(run.root().join("best/state.json").exists());
    // A link that was cut short is cleaned away by the next save.
    std::os::unix::fs::symlink("step-2", run.root().join(".tmp-best")).unwrap();
    run.save(6);
    assert_eq!(run.names(), ["best", "step-2", "step-5", "step-6"]);
}

struct Run {
    folder: tempfile::TempDir,
}

impl Run {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn checkpoints(&self) -> CheckpointFolder {
        CheckpointFolder::new(self.root())
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("checkpoints")
    }

    fn save(&self, step: u64) -> PathBuf {
        let [params, m, v] = arenas(step);
        self.checkpoints().save(&state(step), Tensors { params: &params, m: &m, v: &v }).unwrap()
    }

    /// Saves with a fault at `stage`: an error, or a panic, after which nothing runs, as after SIGKILL.
    fn save_with_fault(&self, step: u64, stage: Stage, kill: bool) {
        let [params, m, v] = arenas(step);
        let tensors = Tensors { params: &params, m: &m, v: &v };
        let mut hook = |reached| {
            if reached != stage {
                return Ok(());
            }
            // Unlike panic!, this does not print.
            if kill {
                std::panic::resume_unwind(Box::new("killed"))
            }
            Err(std::io::ErrorKind::StorageFull.into())
        };
        let save = AssertUnwindSafe(|| self.checkpoints().save_with(&state(step), tensors, &mut hook));
        match catch_unwind(save) {
            Ok(result) => {
                assert!(matches!(result, Err(CheckpointError::Io { .. })), "{stage:?}: {result:?}");
            }
            Err(_) => assert!(kill),
        }
    }

    fn latest(&self) -> WholeCheckpoint {
        self.checkpoints().latest_whole().unwrap().unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.root())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn state(step: u64) -> TrainerState {
    TrainerState {
        step,
        updates: step - step / 10,
        tokens: step * 512,
        cursor: Cursor::Random { seed: u64::MAX - 1, words: step * 3 },
        loss_scale: LossScaleState { scale: 32_768.0, good_steps: 17 },
        best: Some(Best { step: step / 2, loss: 0.1 + 0.2 }),
        compiling: Compiling { compiles: 12, compile_ms: 0.5, restarts: 2 },
        ledger: Ledger { processes: 2, ane_ms: 0.1 + 0.2, ..Ledger::default() },
        config_hash: "5f2c".to_owned(),
    }
}

/// Arenas that differ from one another and from step to step, with numbers that text would spoil.
fn arenas(step: u64) -> [Vec<f32>; 3] {
    [1.0, 1e-42, -3e38]
        .map(|scale| (0..LEN).map(|i| ((i as f32 + step as f32) / 2003.0).sin() * scale).collect())
}

fn load(path: &Path) -> Result<(TrainerState, [Vec<f32>; 3]), CheckpointError> {
    let [mut params, mut m, mut v] = [(); 3].map(|()| vec![0.0; LEN]);
    let state = CheckpointFolder::load(path, TensorsMut { params: &mut params, m: &mut m, v: &mut v })?;
    Ok((state, [params, m, v]))
}

fn assert_holds(path: &Path, step: u64) {
    assert_eq!(load(path).unwrap(), (state(step), arenas(step)));
}

fn truncate(path: &Path, by: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - by).unwrap();
}

fn flip_byte(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_saved_is_loaded_bit_for_bit() {
    let run = Run::new();
    assert!(run.checkpoints().latest_whole().unwrap().is_none());
    let path = run.save(7);
    assert_eq!(path, run.root().join("step-7"));
    assert_holds(&path, 7);
    let latest = run.latest();
    assert_eq!((latest.path, latest.state, latest.damaged), (path, state(7), vec![]));
}

#[test]
fn the_newest_is_found_by_number_not_by_name() {
    let run = Run::new();
    for step in [9, 100, 20] {
        run.save(step);
    }
    // Names that are not ours are left alone.
    for name in ["step-", "step-0999", "step-x", "notes"] {
        fs::create_dir(run.root().join(name)).unwrap();
    }
    assert_eq!(run.latest().state.step, 100);
}

#[test]
fn every_kind_of_damage_is_named_and_the_one_before_used() {
    type Spoil = fn(&Path);
    let file = |name: &str| name.to_owned();
    let cases: Vec<(Spoil, Damage)> = vec![
        (
            |p| truncate(&p.join("adam_v.bin"), 1),
            Damage::Length { file: file("adam_v.bin"), expected: 4000, found: 3999 },
        ),
        (|p| flip_byte(&p.join("params.bin"), 1234), Damage::Checksum { file: file("params.bin") }),
        (|p| flip_byte(&p.join("adam_m.bin"), 0), Damage::Checksum { file: file("adam_m.bin") }),
        (|p| flip_byte(&p.join("state.json"), 20), Damage::Checksum { file: file("state.json") }),
        (
            |p| fs::remove_file(p.join("manifest.json")).unwrap(),
            Damage::Missing { file: file("manifest.json") },
        ),
        (|p| fs::remove_file(p.join("adam_m.bin")).unwrap(), Damage::Missing { file: file("adam_m.bin") }),
        (
            |p| fs::write(p.join("manifest.json"), r#"{"format":9,"files":[]}"#).unwrap(),
            Damage::Format { found: 9, expected: 1 },
        ),
    ];
    for (spoil, damage) in cases {
        let run = Run::new();
        run.save(1);
        let path = run.save(2);
        spoil(&path);
        let latest = run.latest();
        assert_eq!(latest.state, state(1));
        assert_eq!(latest.damaged, [DamagedCheckpoint { path: path.clone(), damage: damage.clone() }]);
        assert_holds(&latest.path, 1);
        let error = load(&path).unwrap_err();
        assert!(matches!(&error, CheckpointError::Damaged { damage: d, .. } if *d == damage), "{error}");
    }
}

#[test]
fn every_flipped_byte_of_the_manifest_is_harmless_or_noticed() {
    let run = Run::new();
    let path = run.save(3);
    let manifest = path.join("manifest.json");
    for at in 0..fs::read(&manifest).unwrap().len() {
        flip_byte(&manifest, at);
        if let Ok((loaded, tensors)) = load(&path) {
            assert_eq!((loaded, tensors), (state(3), arenas(3)), "byte {at}");
        }
        flip_byte(&manifest, at);
    }
    assert_holds(&path, 3);
}

#[test]
fn a_checkpoint_under_the_name_of_another_step_is_damaged() {
    let run = Run::new();
    run.save(1);
    fs::rename(run.root().join("step-1"), run.root().join("step-5")).unwrap();
    assert!(matches!(run.checkpoints().latest_whole(), Err(CheckpointError::NoneWhole { .. })));
}

#[test]
fn none_whole_is_an_error_that_names_each_and_deletes_none() {
    let run = Run::new();
    for step in [1, 2] {
        truncate(&run.save(step).join("params.bin"), 4);
    }
    let error = run.checkpoints().latest_whole().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("step-1: params.bin") && text.contains("step-2: params.bin"), "{text}");
    assert_eq!(run.names(), ["step-1", "step-2"]);
}

#[test]
fn another_models_checkpoint_is_refused() {
    let run = Run::new();
    let path = run.save(1);
    let [mut params, mut m, mut v] = [(); 3].map(|()| vec![0.0; LEN + 1]);
    let error = CheckpointFolder::load(&path, TensorsMut { params: &mut params, m: &mut m, v: &mut v });
    assert!(matches!(error, Err(CheckpointError::OtherModel { expected: 1001, found: 1000, .. })));
}

const STAGES: [Stage; 10] = [
    Stage::FolderMade,
    Stage::ArenaWritten(0),
    Stage::ArenaWritten(1),
    Stage::ArenaWritten(2),
    Stage::StateWritten,
    Stage::ManifestWritten,
    Stage::FolderSynced,
    Stage::OldMovedAside,
    Stage::Renamed,
    Stage::ParentSynced,
];

/// Whatever happens while step 2 is saved, a whole checkpoint is found, and the next save succeeds and cleans up.
#[test]
fn a_writer_that_fails_or_is_killed_never_costs_a_checkpoint() {
    for kill in [false, true] {
        for stage in STAGES {
            let run = Run::new();
            run.save(1);
            run.save_with_fault(2, stage, kill);
            let complete = matches!(stage, Stage::Renamed | Stage::ParentSynced);
            let latest = run.latest();
            assert_eq!(latest.damaged, [], "{stage:?}");
            let expected = if complete { 2 } else { 1 };
            assert_holds(&latest.path, expected);
            if !kill {
                assert!(!run.names().iter().any(|name| name.starts_with('.')), "{stage:?}");
            }
            run.save(3);
            assert_holds(&run.latest().path, 3);
            assert!(!run.names().iter().any(|name| name.starts_with('.')), "{stage:?}: {:?}", run.names());
        }
    }
}

#[test]
fn replacing_a_checkpoint_of_the_same_step_is_as_safe() {
    for kill in [false, true] {
        for stage in STAGES {
            let run = Run::new();
            run.save(2);
            run.save_with_fault(2, stage, kill);
            assert_holds(&run.latest().path, 2);
            run.save(2);
            assert_eq!(run.names(), ["step-2"], "{stage:?}");
            assert_holds(&run.latest().path, 2);
        }
    }
}

#[test]
fn a_damaged_checkpoint_is_replaced_when_its_step_comes_again() {
    let run = Run::new();
    run.save(1);
    flip_byte(&run.save(2).join("params.bin"), 9);
    run.save(2);
    assert_holds(&run.latest().path, 2);
    assert_eq!(run.names(), ["step-1", "step-2"]);
}

#[test]
fn pruning_keeps_the_newest_whole_ones() {
    let run = Run::new();
    for step in 1..=5 {
        run.save(step);
    }
    truncate(&run.root().join("step-4/params.bin"), 4);
    // 5 and 3 stay as the two that are whole; the damaged 4 is for its owner to look at.
    assert_eq!(run.checkpoints().prune(5, 2, None).unwrap(), [2, 1]);
    assert_eq!(run.names(), ["step-3", "step-4", "step-5"]);
    // A later checkpoint does not cost the one just saved its place.
    assert!(run.checkpoints().prune(3, 1, None).unwrap().is_empty());
    assert_eq!(run.checkpoints().prune(5, 0, None).unwrap(), [3], "the newest always stays");
    assert_eq!(run.names(), ["step-4", "step-5"]);
}

#[test]
fn pruning_without_a_whole_new_checkpoint_removes_nothing() {
    let run = Run::new();
    run.save(1);
    fs::remove_file(run.save(2).join("manifest.json")).unwrap();
    for newest in [2, 3] {
        assert!(matches!(run.checkpoints().prune(newest, 1, None), Err(CheckpointError::Damaged { .. })));
    }
    assert_eq!(run.names(), ["step-1", "step-2"]);
}

#[test]
fn an_unwritable_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("file");
    fs::write(&root, "not a folder").unwrap();
    let [params, m, v] = arenas(1);
    let checkpoints = CheckpointFolder::new(&root);
    let error = checkpoints.save(&state(1), Tensors { params: &params, m: &m, v: &v }).unwrap_err();
    assert!(error.to_string().contains(&root.display().to_string()), "{error}");
    assert!(matches!(checkpoints.latest_whole(), Err(CheckpointError::Io { .. })));
}
