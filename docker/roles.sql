-- Run once by the image `postgres`, when its data folder is empty: the two roles and the database (docs/operations.md).
\getenv owner_password DATABASE_OWNER_PASSWORD
\getenv password DATABASE_PASSWORD
CREATE ROLE anyllm_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE anyllm LOGIN PASSWORD :'password';
CREATE DATABASE anyllm OWNER anyllm_owner;
