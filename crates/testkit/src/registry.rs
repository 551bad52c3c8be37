//! A real registry on a loopback port with a small real image, built offline: busybox-static, umoci, skopeo and
//! Debian's docker-registry. Blocking std only; everything goes when it is dropped.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::spawn_bound;

/// Programs needed, and the Debian package of each.
const PROGRAMS: [(&str, &str); 4] = [
    ("docker-registry", "docker-registry"),
    ("skopeo", "skopeo"),
    ("umoci", "umoci"),
    ("/usr/bin/busybox", "busybox-static"),
];
/// Applets that get a link in the image.
const APPLETS: &str = "sh ls cat echo sleep true false env id ip ps nc ping wget httpd hostname dd kill mount date head \
    tail yes seq stat grep ulimit touch mkdir rm nslookup wc test df pwd printf chroot";
/// Attempts to find a port that nobody takes between asking for it and using it.
const PORT_ATTEMPTS: usize = 20;
/// A registry answers within 100 ms of its start; a saturated machine may need seconds.
const START_ATTEMPTS: usize = 600;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Who may use a guarded registry, and the line of its password file: the password in bcrypt, which is all that the registry takes.
pub const USER: &str = "puller";
/// Their password.
pub const PASSWORD: &str = "let-me-pull";
const HTPASSWD: &str = "puller:$2y$05$LongshoreTestSaltWithuDSuBWjWp/QaMCdgeZkHwB14iuvKAFuW\n";

/// A registry of its own, alone on `127.0.0.1:port`, and the images in it.
#[derive(Debug)]
pub struct Registry {
    dir: TempDir,
    process: Child,
    port: u16,
    guarded: bool,
}

/// A layer for [`Registry::image_of_layer`].
#[derive(Debug)]
pub struct Layer<'a> {
    /// The end of its media type: `tar`, `tar+gzip`, `tar+zstd`.
    pub kind: &'a str,
    /// What the registry serves.
    pub bytes: &'a [u8],
    /// What it is said to unpack to.
    pub tar: &'a [u8],
    /// The size that the manifest tells, if it lies.
    pub said_size: Option<usize>,
}

impl Registry {
    /// Starts an empty registry.
    ///
    /// # Errors
    /// If a program is missing (named with its package) or it does not come up.
    pub fn start() -> Result<Self> {
        Self::start_as(false)
    }

    /// Starts an empty registry that serves nobody but [`USER`].
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub fn start_guarded() -> Result<Self> {
        Self::start_as(true)
    }

    fn start_as(guarded: bool) -> Result<Self> {
        for (program, package) in PROGRAMS {
            ensure!(is_there(program), "{program} is missing: apt-get install {package}");
        }
        let dir = TempDir::with_prefix("longshore-registry-")?;
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port()?;
            let mut process = spawn(dir.path(), port, guarded)?;
            if answers(&mut process, port)? {
                return Ok(Self { dir, process, port, guarded });
            }
        }
        bail!("no registry came up: {}", fs::read_to_string(dir.path().join("log")).unwrap_or_default())
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Builds and pushes the busybox image; answers its reference, `127.0.0.1:port/busybox:1`.
    ///
    /// It has the usual applets in /bin, users root and app (1000:1001, also in group video, 27), PATH=/bin and
    /// `/bin/sh` as its command.
    ///
    /// # Errors
    /// If a build step fails, with that program's words.
    pub fn busybox_image(&self) -> Result<String> {
        let layout = self.busybox_layout()?;
        let reference = format!("{}/busybox:1", self.address());
        self.push(&layout, "busybox", &reference)?;
        Ok(reference)
    }

    /// The same with a further layer, in which this folder's content is at `/more`, as `127.0.0.1:port/busybox:more`.
    ///
    /// # Errors
    /// If a build step fails, with that program's words.
    pub fn busybox_with(&self, folder: &Path) -> Result<String> {
        let layout = self.busybox_layout()?;
        let image = format!("{}:busybox", layout.display());
        run("umoci", &["insert", "--image", &image, "--tag", "more", path(folder)?, "/more"])?;
        let reference = format!("{}/busybox:more", self.address());
        self.push(&layout, "more", &reference)?;
        Ok(reference)
    }

    /// As [`Self::busybox_with`], and its configuration declares these volumes, as `127.0.0.1:port/busybox:TAG`.
    ///
    /// # Errors
    /// If a build step fails, with that program's words.
    pub fn busybox_declaring(&self, tag: &str, folder: &Path, volumes: &[&str]) -> Result<String> {
        let layout = self.busybox_layout()?;
        let image = format!("{}:busybox", layout.display());
        run("umoci", &["insert", "--image", &image, "--tag", tag, path(folder)?, "/more"])?;
        let image = format!("{}:{tag}", layout.display());
        let mut arguments = vec!["config", "--image", &image];
        arguments.extend(volumes.iter().flat_map(|volume| ["--config.volume", volume]));
        run("umoci", &arguments)?;
        let reference = format!("{}/busybox:{tag}", self.address());
        self.push(&layout, tag, &reference)?;
        Ok(reference)
    }

    /// The same files in one zstd layer, as `127.0.0.1:port/busybox:zstd`. Made by hand: this skopeo cannot.
    ///
    /// # Errors
    /// If a build step fails, with that program's words.
    pub fn busybox_zstd_image(&self) -> Result<String> {
        self.busybox_layout()?;
        let tar = self.dir.path().join("layer.tar");
        run("tar", &["-C", path(&self.dir.path().join("bundle/rootfs"))?, "-cf", path(&tar)?, "."])?;
        let tar = fs::read(tar)?;
        let layer = Layer { kind: "tar+zstd", bytes: &zstd::encode_all(&tar[..], 0)?, tar: &tar, said_size: None };
        self.image_of_layer("busybox", "zstd", &layer)
    }

    /// An image of one layer as it is given, whether or not it can be unpacked, as `127.0.0.1:port/repository:tag`.
    ///
    /// # Errors
    /// If the registry does not take it.
    pub fn image_of_layer(&self, repository: &str, tag: &str, layer: &Layer<'_>) -> Result<String> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let config = serde_json::json!({
            "os": "linux", "architecture": architecture,
            "config": { "Cmd": ["/bin/sh"], "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": [sha256(layer.tar)] },
        });
        let config = config.to_string().into_bytes();
        self.put_blob(repository, layer.bytes)?;
        self.put_blob(repository, &config)?;
        let descriptor = |kind: &str, bytes: &[u8], size: usize| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            serde_json::json!({ "mediaType": media_type, "digest": sha256(bytes), "size": size })
        };
        let size = layer.said_size.unwrap_or(layer.bytes.len());
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor("config.v1+json", &config, config.len()),
            "layers": [descriptor(&format!("layer.v1.{}", layer.kind), layer.bytes, size)],
        });
        let content_type = format!("Content-Type: {MANIFEST}");
        let target = format!("/v2/{repository}/manifests/{tag}");
        self.http("PUT", &target, &[&content_type], manifest.to_string().as_bytes())?;
        Ok(format!("{}/{repository}:{tag}", self.address()))
    }

    fn put_blob(&self, repository: &str, bytes: &[u8]) -> Result<()> {
        let (head, _) = self.http("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"")?;
        let location = header(&head, "location").context("no place to upload to")?;
        let (_, target) = location.split_once(&self.address()).context("an upload elsewhere")?;
        let joint = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{joint}digest={}", sha256(bytes));
        self.http("PUT", &target, &["Content-Type: application/octet-stream"], bytes)?;
        Ok(())
    }

    /// An index of two platforms (this image under linux/amd64 and linux/arm64's names), as
    /// `127.0.0.1:port/busybox:multi`; `platforms` are (architecture) names.
    ///
    /// # Errors
    /// If a build step fails, with that program's words.
    pub fn busybox_index(&self, tag: &str, platforms: &[&str]) -> Result<String> {
        let layout = self.busybox_layout()?;
        let single = format!("{}/busybox:1", self.address());
        self.push(&layout, "busybox", &single)?;
        let (headers, body) = self.http("GET", "/v2/busybox/manifests/1", &[ACCEPT_MANIFEST], b"")?;
        let media_type = header(&headers, "content-type").context("the manifest has no media type")?;
        let digest = header(&headers, "docker-content-digest").context("the manifest has no digest")?;
        let entries: Vec<_> = platforms
            .iter()
            .map(|architecture| {
                serde_json::json!({
                    "mediaType": media_type, "digest": digest, "size": body.len(),
                    "platform": { "os": "linux", "architecture": architecture },
                })
            })
            .collect();
        let index = serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string();
        let content_type = format!("Content-Type: {INDEX}");
        self.http("PUT", &format!("/v2/busybox/manifests/{tag}"), &[&content_type], index.as_bytes())?;
        Ok(format!("{}/busybox:{tag}", self.address()))
    }

    /// Overwrites every layer blob of the registry with other bytes of the same length: a registry that lies.
    ///
    /// # Errors
    /// Of the file system.
    pub fn corrupt_layers(&self) -> Result<usize> {
        /// Smaller blobs are manifests and configurations.
        const LAYERS_START: u64 = 100_000;
        let mut corrupted = 0;
        let mut open = vec![self.dir.path().join("storage")];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    open.push(entry.path());
                } else if entry.file_name() == "data" && entry.metadata()?.len() > LAYERS_START {
                    let mut bytes = fs::read(entry.path())?;
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 0xff;
                    fs::write(entry.path(), bytes)?;
                    corrupted += 1;
                }
            }
        }
        Ok(corrupted)
    }

    fn busybox_layout(&self) -> Result<PathBuf> {
        let layout = self.dir.path().join("oci");
        if layout.is_dir() {
            return Ok(layout);
        }
        let bundle = self.dir.path().join("bundle");
        let image = format!("{}:busybox", layout.display());
        run("umoci", &["init", "--layout", path(&layout)?])?;
        run("umoci", &["new", "--image", &image])?;
        run("umoci", &["unpack", "--image", &image, path(&bundle)?])?;
        fill(&bundle.join("rootfs"))?;
        run("umoci", &["repack", "--image", &image, path(&bundle)?])?;
        run("umoci", &["config", "--image", &image, "--config.cmd", "/bin/sh", "--config.env", "PATH=/bin"])?;
        run("umoci", &["gc", "--layout", path(&layout)?])?;
        Ok(layout)
    }

    fn push(&self, layout: &Path, tag: &str, reference: &str) -> Result<()> {
        let source = format!("oci:{}:{tag}", layout.display());
        let target = format!("docker://{reference}");
        let credentials = format!("{USER}:{PASSWORD}");
        let mut arguments = vec!["copy", "--insecure-policy", "--dest-tls-verify=false", "--quiet"];
        if self.guarded {
            arguments.extend(["--dest-creds", &credentials]);
        }
        arguments.extend([source.as_str(), target.as_str()]);
        run("skopeo", &arguments)
    }

    fn http(&self, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Result<(String, Vec<u8>)> {
        let mut stream = TcpStream::connect(self.address())?;
        let mut request = format!("{method} {target} HTTP/1.0\r\nHost: {}\r\n", self.address());
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(request.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").context("half an answer")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).unwrap_or("");
        let body = answer[end + 4..].to_vec();
        ensure!(status.starts_with('2'), "{method} {target}: {head} {}", String::from_utf8_lossy(&body));
        Ok((head, body))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const ACCEPT_MANIFEST: &str =
    "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// A port of 127.0.0.1 that was free a moment ago.
///
/// # Errors
/// If the machine has none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn is_there(program: &str) -> bool {
    if program.starts_with('/') {
        return Path::new(program).is_file();
    }
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"]
        .iter()
        .any(|dir| Path::new(dir).join(program).is_file())
}

fn spawn(dir: &Path, port: u16, guarded: bool) -> Result<Child> {
    let config = dir.join("registry.yml");
    let mut text = format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}/storage}}\n  \
         delete: {{enabled: true}}\nhttp:\n  addr: 127.0.0.1:{port}\n",
        dir.display()
    );
    if guarded {
        let file = dir.join("htpasswd");
        fs::write(&file, HTPASSWD)?;
        text.push_str(&format!("auth:\n  htpasswd: {{realm: test, path: {}}}\n", file.display()));
    }
    fs::write(&config, text)?;
    let log = fs::File::create(dir.join("log"))?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    spawn_bound(command, 9)
}

/// Waits until it answers; false if it ended, for want of the port most likely.
#[allow(clippy::disallowed_methods)] // Blocking std only, and the only event is that a connection succeeds.
fn answers(process: &mut Child, port: u16) -> Result<bool> {
    for _ in 0..START_ATTEMPTS {
        if process.try_wait()?.is_some() {
            return Ok(false);
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(true);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    process.kill()?;
    process.wait()?;
    Ok(false)
}

fn fill(rootfs: &Path) -> Result<()> {
    for dir in ["bin", "etc", "tmp", "proc", "sys", "dev", "root", "home/app", "var/run"] {
        fs::create_dir_all(rootfs.join(dir))?;
    }
    fs::copy("/usr/bin/busybox", rootfs.join("bin/busybox"))?;
    for applet in APPLETS.split_ascii_whitespace() {
        std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet))?;
    }
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n")?;
    fs::write(rootfs.join("etc/group"), "root:x:0:\nvideo:x:27:app\napp:x:1001:\n")?;
    Ok(())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).output().with_context(|| program.to_owned())?;
    ensure!(
        output.status.success(),
        "{program} {}: {}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
