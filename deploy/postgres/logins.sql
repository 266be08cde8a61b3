-- Run once, by Postgres's image, when it makes an empty volume into a database.
-- Three logins: of `tuner create`, of workers, of the dashboard. What each group may do, the first
-- `tuner create` says. The passwords are read by psql itself: no process list shows them.
\set ON_ERROR_STOP on
\set owner `cat /run/secrets/owner`
\set worker `cat /run/secrets/worker`
\set reader `cat /run/secrets/reader`
CREATE ROLE tuner_owner NOLOGIN;
CREATE ROLE tuner_worker NOLOGIN;
CREATE ROLE tuner_reader NOLOGIN;
CREATE ROLE tuner_create LOGIN IN ROLE tuner_owner PASSWORD :'owner';
CREATE ROLE tuner_work LOGIN IN ROLE tuner_worker PASSWORD :'worker';
CREATE ROLE tuner_view LOGIN IN ROLE tuner_reader PASSWORD :'reader';
ALTER DATABASE tuner OWNER TO tuner_owner;
