//! Holds who leads, who joins, and what becomes of those who wait.
