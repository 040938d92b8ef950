//! State that the connections and the handles of a service share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::content::Content;
use super::log::Log;
use super::settings::Settings;
use super::token::TokenStore;

/// State that the connections and the handles of a service share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Mutex<Settings>,
    pub(super) tokens: Mutex<TokenStore>,
    pub(super) content: Content,
    pub(super) log: Log,
    pub(super) stop: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn settings(&self) -> Settings {
        *lock(&self.settings)
    }

    pub(super) fn tokens(&self) -> MutexGuard<'_, TokenStore> {
        lock(&self.tokens)
    }
}

/// Locks; a panic elsewhere leaves plain values that are good to go on with.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
