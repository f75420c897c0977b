use super::*;
use crate::data::TokenSource;

const STORIES: [&str; 6] = [
    "Once there was a small fox.",
    "The fox had a red hat.\n\nThe hat was warm.",
    "A big bear came.",
    "\"Hello,\" said the bear.",
    "They ate.",
    "The end.",
];

fn tokenizer() -> Tokenizer {
    Tokenizer::train(STORIES, 280).unwrap()
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn prepare(
        &self,
        files: Vec<PathBuf>,
        validation: f64,
        shard_tokens: u64,
    ) -> Result<Prepared, CorpusError> {
        let out = self.out();
        prepare(&Preparation { files, out, validation, shard_tokens }, &tokenizer(), &mut |_| {})
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("made/data")
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn tokens(files: &[PathBuf]) -> Vec<u32> {
    let source = TokenSource::from_files(files, TokenWidth::Two, 280).unwrap();
    let mut tokens = vec![0; source.len() as usize];
    source.read(0, &mut tokens).unwrap();
    tokens
}

#[test]
fn files_become_shards_of_all_their_documents_in_order() {
    let place = Place::new();
    let text = place.file("a.txt", &STORIES[..3].join("\n<|endoftext|>\n"));
    let lines = STORIES[3..].iter().map(|story| serde_json::json!({"text": story}).to_string());
    let lines = place.file("b.jsonl", &lines.collect::<Vec<_>>().join("\n"));
    let prepared = place.prepare(vec![text, lines], 0.0, 25).unwrap();

    let folder = DataFolder::open(&place.out()).unwrap();
    let expected = tokenizer().encode_documents(&STORIES).unwrap();
    assert_eq!(tokens(&folder.train), expected);
    assert_eq!(prepared.train_tokens, expected.len() as u64);
    assert_eq!((prepared.documents, prepared.validation_tokens), (6, 0));
    assert_eq!(prepared.bytes, STORIES.iter().map(|s| s.len() as u64).sum::<u64>());
    assert_eq!(folder.train.len(), expected.len().div_ceil(25));
    for shard in &folder.train[..folder.train.len() - 1] {
        assert_eq!(fs::metadata(shard).unwrap().len(), 50, "{}", shard.display());
    }
    assert_eq!((folder.token_bytes, folder.tokenizer), (Some(2), Some(place.out())));
    assert_eq!(place.names(&place.0.path().join("made")), ["data"], "nothing temporary stays");
}

#[test]
fn documents_held_out_are_spread_and_whole() {
    let place = Place::new();
    let text = place.file("a.txt", &STORIES.join("<|endoftext|>"));
    place.prepare(vec![text], 1.0 / 3.0, 1000).unwrap();
    let folder = DataFolder::open(&place.out()).unwrap();
    let kept = [STORIES[0], STORIES[1], STORIES[3], STORIES[4]];
    assert_eq!(tokens(&folder.train), tokenizer().encode_documents(&kept).unwrap());
    let held = [STORIES[2], STORIES[5]];
    assert_eq!(tokens(&folder.validation), tokenizer().encode_documents(&held).unwrap());
}

#[test]
fn a_document_of_many_pieces_is_framed_once() {
    let place = Place::new();
    let line = "The fox had a red hat and the bear came to see.\n";
    let long = line.repeat(3 * LONGEST_PIECE / line.len());
    let text = place.file("a.txt", &format!("{long}<|endoftext|>short"));
    let prepared = place.prepare(vec![text], 0.0, 1 << 40).unwrap();
    assert_eq!(prepared.documents, 2);
    let expected = tokenizer().encode_documents(&[long.trim(), "short"]).unwrap();
    assert!(tokens(&DataFolder::open(&place.out()).unwrap().train) == expected, "pieces changed the tokens");
}

#[test]
fn a_folder_in_use_and_data_that_is_none_change_nothing() {
    let place = Place::new();
    let text = place.file("a.txt", "A story.");
    fs::create_dir_all(place.out()).unwrap();
    place.prepare(vec![text.clone()], 0.0, 10).unwrap();
    let message = |result: Result<Prepared, CorpusError>| result.unwrap_err().to_string();
    assert!(message(place.prepare(vec![text.clone()], 0.0, 10)).contains("give another --out"));
    let other = Place::new();
    let blank = other.file("blank.txt", " \n<|endoftext|> ");
    assert!(message(other.prepare(vec![blank], 0.0, 10)).contains("blank.txt"));
    assert!(message(other.prepare(vec![text.clone()], 1.0, 10)).contains("held out"));
    assert!(message(other.prepare(vec![text], 0.0, 0)).contains("at least 1"));
    assert!(!other.out().exists());
    assert_eq!(other.names(&other.0.path().join("made")), Vec::<String>::new());
}

#[test]
fn folders_are_checked_before_they_are_used() {
    let place = Place::new();
    let text = place.file("a.txt", "A story.");
    place.prepare(vec![text], 0.0, 1000).unwrap();
    let shard = place.out().join("train-00000.bin");
    let message = || DataFolder::open(&place.out()).unwrap_err().to_string();
    fs::write(&shard, [0; 3]).unwrap();
    assert!(message().contains("train-00000.bin") && message().contains("3 bytes"), "{}", message());
    fs::remove_file(&shard).unwrap();
    assert!(message().contains("train-00000.bin"), "{}", message());
    fs::write(place.out().join("data.json"), "{}").unwrap();
    assert!(message().contains("data.json"), "{}", message());

    // Without a manifest the token files of a folder are taken by name, as llama2.c's are.
    fs::remove_file(place.out().join("data.json")).unwrap();
    assert!(message().contains("no token files"), "{}", message());
    for name in ["data01.bin", "data00.bin", "notes.txt"] {
        fs::write(place.out().join(name), [1, 0]).unwrap();
    }
    let names = DataFolder::open(&place.out()).unwrap().train;
    assert_eq!(names, ["data00.bin", "data01.bin"].map(|name| place.out().join(name)));
}
