//! Account settings.

use super::Applied;
use crate::{command::Outcome, draft::Draft};
use model::{AccountSetting, Scope, SettingName};

impl Draft<'_> {
    pub(super) fn put_account_setting(&mut self, scope: Scope, setting: AccountSetting) -> Applied {
        self.put_setting(scope, setting);
        Ok(Outcome::Done)
    }

    pub(super) fn delete_account_setting(
        &mut self,
        scope: &Scope,
        name: SettingName,
        principal: Option<String>,
    ) -> Applied {
        if self.next.setting(scope, name, principal.as_deref()).is_some() {
            self.remove_setting(scope, name, principal);
        }
        Ok(Outcome::Done)
    }
}
