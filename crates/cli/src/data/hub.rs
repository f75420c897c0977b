//! Downloads from the Hugging Face hub.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::fetch::Remote;

/// Names a mirror instead, as other programs have it.
const ENDPOINT: &str = "HF_ENDPOINT";

/// Downloads `files` of a data set into `folder`, one after the other. What is there is whole: a file gets its name when it has
/// arrived, and what a failed try leaves is gone on with.
pub(super) fn download(remote: &Remote, files: &[&str], folder: &Path) -> Result<(), String> {
    let endpoint = std::env::var(ENDPOINT).unwrap_or_else(|_| "https://huggingface.co".to_owned());
    fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    for file in files {
        get(&remote.url(&endpoint, file), &folder.join(file))?;
    }
    Ok(())
}

/// Downloads `url` to `to`, by way of a file with an ending of its own.
fn get(url: &str, to: &Path) -> Result<(), String> {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let unwritable = |error: io::Error| format!("cannot write {}: {error}", part.display());
    let there = fs::metadata(&part).map_or(0, |file| file.len());
    let mut request = ureq::get(url);
    if there > 0 {
        request = request.set("Range", &format!("bytes={there}-"));
    }
    let response = request.call().map_err(|error| format!("cannot download {url}: {error}"))?;
    let mut file = match response.status() {
        206 => OpenOptions::new().append(true).open(&part),
        _ => File::create(&part),
    }
    .map_err(unwritable)?;
    let announced = response.header("Content-Length").and_then(|length| length.parse::<u64>().ok());
    let arrived = io::copy(&mut response.into_reader(), &mut file)
        .map_err(|error| format!("cannot download {url}: {error}; run it again to go on"))?;
    if let Some(announced) = announced.filter(|&announced| announced != arrived) {
        return Err(format!(
            "cannot download {url}: {arrived} of {announced} bytes arrived; run it again to go on"
        ));
    }
    fs::rename(&part, to).map_err(|error| format!("cannot put {} in its place: {error}", part.display()))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request after the other as given, and hands back the lines of each request.
    fn serve(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file", listener.local_addr().unwrap());
        let requests = std::thread::spawn(move || {
            let answer = |answer: String| {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                stream.write_all(answer.as_bytes()).unwrap();
                request.join("\n")
            };
            answers.into_iter().map(answer).collect()
        });
        (url, requests)
    }

    #[test]
    fn a_broken_download_is_gone_on_with_and_only_a_whole_file_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("stories.txt");
        let (url, requests) = serve(vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nOnce ".into(),
            "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nConnection: close\r\n\r\nupon.".into(),
        ]);
        let error = get(&url, &to).unwrap_err();
        assert!(error.contains("run it again to go on"), "{error}");
        assert!(!to.exists());
        get(&url, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "Once upon.");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        assert!(requests.join().unwrap()[1].contains("Range: bytes=5-"));
    }

    #[test]
    fn a_refusal_is_told_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("stories.txt");
        let (url, requests) =
            serve(vec!["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into()]);
        let error = get(&url, &to).unwrap_err();
        assert!(error.starts_with("cannot download http://") && error.contains("404"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        requests.join().unwrap();
    }
}
