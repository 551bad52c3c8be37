//! Environment files: what stands for the buckets they are in, and reading them.

use super::rights::Rights;
use crate::{context::Context, outgoing::Outgoing};
use http::Uri;
use model::vault::env_file::{self, Place, added};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// Longest file. Source: the original's scanner takes lines of 64 KiB, and an environment is less than 2 MiB.
const MAX_FILE: usize = 1 << 20;
const TOO_LARGE: &str = "EntityTooLarge: The file is larger than 1 MiB.";
const NO_SUCH_KEY: &str = "NoSuchKey: The specified key does not exist.";
/// How long a server is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a path keeps as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What stands for a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bucket {
    /// A directory whose files are the objects.
    Directory(PathBuf),
    /// Where a server has the objects, without a slash at the end.
    Url(String),
}

impl FromStr for Bucket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("http://") || text.starts_with("https://") {
            let fine = text.parse::<Uri>().is_ok_and(|uri| uri.authority().is_some() && uri.query().is_none());
            return match fine {
                true => Ok(Self::Url(text.trim_end_matches('/').to_owned())),
                false => Err(format!("'{text}' is no URL of a server")),
            };
        }
        if Path::new(text).is_absolute() {
            return Ok(Self::Directory(text.into()));
        }
        Err(format!("'{text}' is neither an absolute path nor an http(s) URL"))
    }
}

/// The variables of a container's files.
///
/// # Errors
/// Why the task cannot start.
pub(super) async fn variables(
    ctx: &Context,
    rights: &Rights<'_>,
    arns: &[String],
) -> Result<BTreeMap<String, String>, String> {
    let mut files = Vec::new();
    for arn in arns {
        let read = match rights.may("s3:GetObject", &[arn.as_str()], None) {
            Ok(()) => read(ctx, arn).await,
            Err(why) => Err(why),
        };
        let read = read.map_err(|why| {
            // AWS: its words for what it could not fetch.
            format!(
                "ResourceInitializationError: failed to download env files: file download command: non empty error stream: \
                 {why} ({arn})"
            )
        })?;
        files.push(env_file::variables(&read));
    }
    Ok(added(&[], files))
}

/// More of a log router's configuration.
///
/// # Errors
/// Why the task cannot start.
pub(super) async fn router_config(ctx: &Context, rights: &Rights<'_>, arn: &str) -> Result<String, String> {
    let read = match rights.may("s3:GetObject", &[arn], None) {
        Ok(()) => read(ctx, arn).await,
        Err(why) => Err(why),
    };
    read.map_err(|why| {
        // AWS: its words for what it could not fetch, as far as they are known.
        format!("ResourceInitializationError: failed to download firelens s3 config file: {why} ({arn})")
    })
}

async fn read(ctx: &Context, arn: &str) -> Result<String, String> {
    // Definitions are checked when they are registered; this is what else would open a file.
    let place = Place::object(arn).map_err(|error| error.to_string())?;
    let Some(bucket) = ctx.config.buckets.get(&place.bucket) else {
        return Err("NoSuchBucket: the server was not told what stands for this bucket (--bucket)".to_owned());
    };
    let bytes = match bucket {
        Bucket::Directory(directory) => {
            let (directory, key) = (directory.clone(), place.key);
            let work = tokio::task::spawn_blocking(move || read_below(&directory, &key));
            work.await.map_err(|_| "InternalError: reading was given up".to_owned())?.map_err(|error| told(&error))?
        }
        Bucket::Url(base) => fetch(ctx, base, &place.key).await?,
    };
    String::from_utf8(bytes).map_err(|_| "InvalidObject: The file is not UTF-8.".to_owned())
}

/// In S3's words.
fn told(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return NO_SUCH_KEY.to_owned();
    }
    if error.kind() == io::ErrorKind::FileTooLarge {
        return TOO_LARGE.to_owned();
    }
    format!("AccessDenied: {error}")
}

/// A file below a directory: no part of its path, and no link in it, leads out of that.
fn read_below(directory: &Path, key: &str) -> io::Result<Vec<u8>> {
    let top = openat(CWD, directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    // Without waiting for somebody to write, should it be a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(openat2(top, key, flags, Mode::empty(), resolve)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

async fn fetch(ctx: &Context, base: &str, key: &str) -> Result<Vec<u8>, String> {
    let path: Vec<String> = key.split('/').map(|part| utf8_percent_encode(part, PATH).to_string()).collect();
    let uri: Uri = format!("{base}/{}", path.join("/")).parse().map_err(|_| "InvalidURI: It is no URL.".to_owned())?;
    let client = Outgoing::open(None, &ctx.effects).map_err(|error| format!("RequestError: {error}"))?;
    let answer = client.get(&uri, MAX_FILE, PATIENCE).await.map_err(|error| format!("RequestError: {error}"))?;
    match (answer.status.as_u16(), answer.body) {
        (200, Some(body)) => Ok(body.to_vec()),
        (200, None) => Err(TOO_LARGE.to_owned()),
        (404, _) => Err(NO_SUCH_KEY.to_owned()),
        (401 | 403, _) => Err("AccessDenied: Access Denied".to_owned()),
        (status, _) => Err(format!("RequestError: the server answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_outside_the_directory_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("config");
        std::fs::create_dir_all(top.join("web")).unwrap();
        std::fs::write(dir.path().join("secret.env"), "A=secret").unwrap();
        std::fs::write(top.join("web/prod.env"), "A=1").unwrap();
        symlink("web/prod.env", top.join("inside.env")).unwrap();
        symlink("../secret.env", top.join("outside.env")).unwrap();
        symlink(dir.path(), top.join("up")).unwrap();
        symlink(dir.path().join("secret.env"), top.join("absolute.env")).unwrap();
        std::fs::create_dir(top.join("folder.env")).unwrap();
        std::fs::write(top.join("large.env"), vec![b'a'; MAX_FILE + 1]).unwrap();
        std::fs::write(top.join("fits.env"), vec![b'a'; MAX_FILE]).unwrap();
        for (key, reads) in [
            ("web/prod.env", true),
            ("inside.env", true),
            ("fits.env", true),
            ("large.env", false),
            ("outside.env", false),
            ("up/secret.env", false),
            ("absolute.env", false),
            ("../secret.env", false),
            ("folder.env", false),
            ("missing.env", false),
        ] {
            assert_eq!(read_below(&top, key).is_ok(), reads, "{key}");
        }
    }

    #[test]
    fn whoever_swaps_a_link_meanwhile_leads_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("config");
        let (web, link) = (top.join("web"), top.join("link"));
        std::fs::create_dir_all(&web).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(web.join("prod.env"), "A=1").unwrap();
        std::fs::write(dir.path().join("outside/prod.env"), "A=secret").unwrap();
        symlink(dir.path().join("outside"), &link).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        let read = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    rustix::fs::renameat_with(CWD, &web, CWD, &link, rustix::fs::RenameFlags::EXCHANGE).unwrap();
                }
            });
            let read: Vec<_> = (0..20_000).map(|_| read_below(&top, "web/prod.env").ok()).collect();
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            read
        });
        assert!(read.iter().flatten().all(|bytes| bytes == b"A=1"), "something outside was read");
        assert!(read.contains(&None) && read.iter().any(Option::is_some), "nobody was in the way, or always");
    }

    #[test]
    fn what_stands_for_a_bucket() {
        for (text, want) in [
            ("/srv/config", Some(Bucket::Directory("/srv/config".into()))),
            ("https://files.test/config/", Some(Bucket::Url("https://files.test/config".into()))),
            ("http://127.0.0.1:9000", Some(Bucket::Url("http://127.0.0.1:9000".into()))),
            ("srv/config", None),
            ("http://", None),
            ("http://x/?a=b", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Bucket>().ok(), want, "{text}");
        }
    }
}
