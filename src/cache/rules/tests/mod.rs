//! Tables for the rules, by concern.
