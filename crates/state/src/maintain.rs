//! x
use std::path::Path;
/// e
#[derive(Debug, Clone, thiserror::Error)]
#[allow(missing_docs)]
pub enum MaintainError {
    #[error("the state is not kept in a file")]
    NoFile,
    #[error("interrupted")]
    Interrupted,
}
/// r
#[derive(Debug, Clone)]
pub struct Report {}
/// x
pub fn backup(_from: &Path, _to: &Path) -> Result<(), MaintainError> {
    Err(MaintainError::NoFile)
}
/// x
pub fn check(_path: &Path) -> Result<Report, MaintainError> {
    Err(MaintainError::NoFile)
}
/// x
pub fn restore(_file: &Path, _dir: &Path, _overwrite: bool) -> Result<(), MaintainError> {
    Err(MaintainError::NoFile)
}
