//! Writes each target's examples into a folder of its name, where libFuzzer begins, and says the names.

use std::path::Path;

#[allow(clippy::print_stdout)]
fn main() -> std::io::Result<()> {
    let root = std::env::args().nth(1).expect("the folder to write into");
    for target in hostile::TARGETS {
        let folder = Path::new(&root).join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (number, bytes) in (target.examples)().iter().enumerate() {
            std::fs::write(folder.join(format!("example-{number}")), bytes)?;
        }
        println!("{}", target.name);
    }
    Ok(())
}
