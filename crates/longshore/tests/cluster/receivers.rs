//! Receivers of container output, as processes in the test's own network: rsyslog, journald, and those of `tests/receivers`.

use crate::harness::{Cluster, until};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use testkit::spawn_bound;

/// Debian's, which has python3-msgpack.
const PYTHON: &str = "/usr/bin/python3";

/// A receiver and the file it writes to. It ends with this value, and with the test.
pub(crate) struct Receiver {
    process: Child,
    pub(crate) out: PathBuf,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Receiver {
    pub(crate) fn start(command: Command, out: PathBuf) -> Self {
        let mut command = command;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self { process: spawn_bound(command, 9).unwrap(), out }
    }

    /// One of `tests/receivers`.
    pub(crate) fn python(cluster: &Cluster, kind: &str, place: &str, more: &[&str]) -> Self {
        let out = cluster.path(&format!("{kind}.jsonl"));
        let mut command = Command::new(PYTHON);
        command.arg(script()).args([kind, out.to_str().unwrap(), place]).args(more);
        Self::start(command, out)
    }

    /// Stops it as SIGSTOP does: connections stay, and nothing is read.
    pub(crate) fn freeze(&self, frozen: bool) {
        let signal = if frozen { rustix::process::Signal::STOP } else { rustix::process::Signal::CONT };
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// What it was sent, if it writes lines of JSON.
    pub(crate) fn got(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.out).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until it has at least so many.
    pub(crate) fn wait_for(&self, cluster: &Cluster, count: usize) -> Vec<Value> {
        let got = std::panic::catch_unwind(|| {
            until("output at the receiver", || Some(self.got()).filter(|got| got.len() >= count))
        });
        got.unwrap_or_else(|_| panic!("{} of {count} came:\n{}", self.got().len(), cluster.log()))
    }
}

/// Where the receivers are.
pub(crate) fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/receivers/receiver.py")
}

/// The address of the test's machine as its instances see it.
pub(crate) fn host_address() -> String {
    let out = Command::new("ip").args(["-4", "-o", "addr", "show", "scope", "global"]).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let line = text.lines().next().expect("the machine has an address once instances are there");
    let address = line.split_whitespace().skip_while(|word| *word != "inet").nth(1).unwrap();
    address.split('/').next().unwrap().to_owned()
}

/// A port of the test's machine that nobody listens at.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

/// The digest of a value, which is all that a receiver is told of it.
pub(crate) fn digest(value: &str) -> String {
    hex::encode(Sha256::digest(value))
}

/// An authority, and a certificate for that address and its key; all in PEM, in that folder.
pub(crate) fn certificates(folder: &Path, address: &str) -> [PathBuf; 3] {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate for one that signs itself if it is named like its authority.
    params.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![address.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let files = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
    for (file, text) in files.iter().zip([authority.pem(), certificate.pem(), key.serialize_pem()]) {
        fs::write(file, text).unwrap();
    }
    files
}

/// rsyslog at three ports: UDP, TCP and TLS. It writes facility, severity, host, tag, version and text of each message.
pub(crate) fn rsyslog(cluster: &Cluster, ports: [u16; 3], [ca, cert, key]: &[PathBuf; 3]) -> Receiver {
    let (out, config) = (cluster.path("syslog.txt"), cluster.path("rsyslog.conf"));
    let (ca, cert, key) = (ca.display(), cert.display(), key.display());
    let [udp, tcp, tls] = ports;
    let text = format!(
        r#"global(workDirectory="{}" defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{cert}"
           defaultNetstreamDriverKeyFile="{key}" maxMessageSize="300k")
module(load="imudp")
module(load="imtcp")
template(name="told" type="string" string="%syslogfacility-text%|%syslogseverity-text%|%hostname%|%syslogtag%|%protocol-version%|%msg%\n")
ruleset(name="all") {{ action(type="omfile" file="{}" template="told") }}
input(type="imudp" port="{udp}" ruleset="all")
input(type="imtcp" port="{tcp}" ruleset="all")
input(type="imtcp" port="{tls}" ruleset="all" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
"#,
        cluster.path("").display(),
        out.display()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new("/usr/sbin/rsyslogd");
    command.args(["-n", "-f"]).arg(&config).arg("-i").arg(cluster.path("rsyslog.pid"));
    command.stderr(fs::File::create(cluster.path("rsyslog.err")).unwrap());
    let receiver = Receiver::start(command, out);
    until("rsyslog", || {
        let listening = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        [tcp, tls].iter().all(|port| listening.contains(&format!(":{port:04X} 00000000:0000 0A"))).then_some(())
    });
    receiver
}
