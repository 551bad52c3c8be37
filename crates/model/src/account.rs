//! Account settings: which defaults an account or a principal has chosen.

use serde::{Deserialize, Serialize};

/// The settings that can be read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // Each name is AWS's own; the ECS guide's page on account settings says what it does.
pub enum SettingName {
    ServiceLongArnFormat,
    TaskLongArnFormat,
    ContainerInstanceLongArnFormat,
    AwsvpcTrunking,
    ContainerInsights,
    #[serde(rename = "fargateFIPSMode")]
    FargateFipsMode,
    TagResourceAuthorization,
    FargateTaskRetirementWaitPeriod,
    GuardDutyActivate,
    DefaultLogDriverMode,
    FargateEventWindows,
}

impl SettingName {
    /// All, in the order ListAccountSettings shows them.
    pub const ALL: [Self; 11] = [
        Self::AwsvpcTrunking,
        Self::ContainerInsights,
        Self::ContainerInstanceLongArnFormat,
        Self::DefaultLogDriverMode,
        Self::FargateEventWindows,
        Self::FargateFipsMode,
        Self::FargateTaskRetirementWaitPeriod,
        Self::GuardDutyActivate,
        Self::ServiceLongArnFormat,
        Self::TagResourceAuthorization,
        Self::TaskLongArnFormat,
    ];

    /// AWS's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceLongArnFormat => "serviceLongArnFormat",
            Self::TaskLongArnFormat => "taskLongArnFormat",
            Self::ContainerInstanceLongArnFormat => "containerInstanceLongArnFormat",
            Self::AwsvpcTrunking => "awsvpcTrunking",
            Self::ContainerInsights => "containerInsights",
            Self::FargateFipsMode => "fargateFIPSMode",
            Self::TagResourceAuthorization => "tagResourceAuthorization",
            Self::FargateTaskRetirementWaitPeriod => "fargateTaskRetirementWaitPeriod",
            Self::GuardDutyActivate => "guardDutyActivate",
            Self::DefaultLogDriverMode => "defaultLogDriverMode",
            Self::FargateEventWindows => "fargateEventWindows",
        }
    }

    /// The setting of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// What it is when nobody has set it.
    pub fn default_value(self) -> &'static str {
        match self {
            Self::ServiceLongArnFormat | Self::TaskLongArnFormat | Self::ContainerInstanceLongArnFormat => "enabled",
            Self::AwsvpcTrunking | Self::ContainerInsights | Self::FargateFipsMode | Self::FargateEventWindows => {
                "disabled"
            }
            Self::TagResourceAuthorization | Self::GuardDutyActivate => "off",
            Self::FargateTaskRetirementWaitPeriod => "7",
            Self::DefaultLogDriverMode => "non-blocking",
        }
    }
}

/// One setting that somebody has chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSetting {
    /// Which.
    pub name: SettingName,
    /// Its value, one of those the setting takes.
    pub value: String,
    /// The principal it holds for; `None` is the account's default.
    pub principal: Option<String>,
}
