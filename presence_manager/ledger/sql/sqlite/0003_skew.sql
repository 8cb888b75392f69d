-- How far Graph's clock was ahead of the clock that wrote `may_live_until`; NULL: nobody knew.
ALTER TABLE sessions ADD COLUMN skew REAL;
