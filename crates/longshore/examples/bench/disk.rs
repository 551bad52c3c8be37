//! The disk's own speed: what no durable write can beat.

use anyhow::Result;
use std::{
    fs,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

pub(crate) fn run(directory: &Path, span: Duration) -> Result<()> {
    let path = directory.join("fsync-probe");
    let mut file = fs::File::create(&path)?;
    let (mut times, start) = (Vec::new(), Instant::now());
    while start.elapsed() < span {
        let one = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(one.elapsed());
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    let mut out = super::latencies(times);
    out.insert("per_second".to_owned(), rate.round().into());
    println!("{}", serde_json::Value::Object(out));
    Ok(())
}
