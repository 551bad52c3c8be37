//! boto3 and the `aws` CLI against a real cluster; the tests themselves are in `tests/blackbox`.

use crate::harness::{Cluster, python};
use std::path::Path;

#[test]
fn the_clients_people_have_are_satisfied() {
    let mut cluster = Cluster::start(3);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/blackbox");
    let folder = folder.canonicalize().unwrap().display().to_string();
    let out =
        cluster.client(&python(), &["-B", "-m", "unittest", "discover", "--start-directory", &folder, "--verbose"]);
    eprintln!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "the black-box tests failed; see above");
    assert!(cluster.stop_server(), "the server did not end well:\n{}", cluster.log());
    assert_eq!(cluster.traces(), Vec::<String>::new(), "something is left behind");
}
