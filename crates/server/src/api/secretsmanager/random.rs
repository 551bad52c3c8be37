//! Passwords.

use super::invalid;
use crate::{api::ApiError, context::Context};
use shapes::secretsmanager as aws;

/// Characters of a password if nothing is asked for. Source: `GetRandomPassword`.
const DEFAULT_LENGTH: i64 = 32;
/// Source: `GetRandomPassword`, `ExcludePunctuation`.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

pub(super) fn password(
    ctx: &Context,
    request: aws::GetRandomPasswordRequest,
) -> Result<aws::GetRandomPasswordResponse, ApiError> {
    let length = usize::try_from(request.password_length.unwrap_or(DEFAULT_LENGTH)).unwrap_or(0);
    let excluded = request.exclude_characters.unwrap_or_default();
    let kinds = [
        ("abcdefghijklmnopqrstuvwxyz", !request.exclude_lowercase.unwrap_or(false)),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", !request.exclude_uppercase.unwrap_or(false)),
        ("0123456789", !request.exclude_numbers.unwrap_or(false)),
        (PUNCTUATION, !request.exclude_punctuation.unwrap_or(false)),
        (" ", request.include_space.unwrap_or(false)),
    ];
    let left = |letters: &str| letters.chars().filter(|c| !excluded.contains(*c)).collect::<Vec<char>>();
    let kinds: Vec<_> = kinds.iter().filter(|(_, wanted)| *wanted).map(|(letters, _)| left(letters)).collect();
    let all: Vec<char> = kinds.iter().flatten().copied().collect();
    if all.is_empty() {
        return Err(invalid("The password can't be empty: all characters are excluded."));
    }
    // AWS: one of each kind unless that is not wanted. A kind of which all are excluded asks for nothing.
    let each = request.require_each_included_type.unwrap_or(true);
    let mut text: Vec<char> = Vec::with_capacity(length);
    if each {
        text.extend(kinds.iter().filter(|kind| !kind.is_empty()).map(|kind| kind[draw(ctx, kind.len())]));
    }
    if text.len() > length {
        return Err(invalid("The password length is too short for the required types of characters."));
    }
    text.extend((text.len()..length).map(|_| all[draw(ctx, all.len())]));
    for at in (1..text.len()).rev() {
        text.swap(at, draw(ctx, at + 1));
    }
    Ok(aws::GetRandomPasswordResponse { random_password: Some(text.into_iter().collect()) })
}

/// A number below `count`, fair enough: of 64 bits, so few values are left over that nobody can tell.
fn draw(ctx: &Context, count: usize) -> usize {
    usize::try_from(ctx.effects.random() % count as u64).expect("it is below a count")
}
