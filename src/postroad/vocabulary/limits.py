"""Every bound of the system that is not configuration, with its unit and its reason.

What an administrator may change stands in `vocabulary/settings.py`; these are the bounds that the
protocols or the machine set. A list, buffer, queue, loop or wait that names no bound from here (or from
the settings) is a defect.
"""

from __future__ import annotations

# ---- lines and commands of SMTP ------------------------------------------------------------------

COMMAND_LINE_BYTES = 2048
"""A command line with its CR LF. RFC 5321 section 4.5.3.1.4 asks for 512 and each extension adds to it
(RFC 1870: 26, RFC 3461: 600, RFC 6531: 10 + 4 per path, RFC 4954 section 3: 500 on MAIL)."""

AUTH_LINE_BYTES = 12_288
"""One base64 line of an AUTH exchange (RFC 4954 section 4)."""

CLIENT_AUTH_LINE_BYTES = 490
"""A longer initial response waits for its challenge, for servers with lines of 512 (RFC 4954 section 4)."""

CONTENT_LINE_BYTES = 1000
"""A line of content with its CR LF, the dot of transparency not counted (RFC 5321 section 4.5.3.1.6)."""

REPLY_LINE_BYTES = 1024
"""A line of a reply from a peer: RFC 5321 section 4.5.3.1.5 says 512, we bear twice that."""

REPLY_LINES = 100
"""Lines of one reply from a peer; EHLO answers have about 20."""

DISCARD_BYTES = 65_536
"""Octets of an over-long command line that are read to be thrown away before the connection is closed."""

REFUSED_CLIENT_LINES = 10
"""Commands of a client that was greeted with 554 (RFC 5321 section 3.1), QUIT included."""

REFUSED_CLIENT_S = 30.0
"""Seconds that such a client may be silent before its connection is closed."""

REFUSED_CLIENTS_SHARE = 2
"""Such clients, and those whose PROXY header has not come, are let wait while all connections are at most so many
times the sessions."""

PIPELINE_BYTES = 65_536
"""Octets of pipelined commands that wait while a decision is owed; reading pauses above it."""

LOCAL_PART_BYTES = 64
"""RFC 5321 section 4.5.3.1.1."""

DOMAIN_BYTES = 255
"""RFC 5321 section 4.5.3.1.2."""

PATH_BYTES = 256
"""With its angle brackets (RFC 5321 section 4.5.3.1.3)."""

PARAMETERS = 20
"""ESMTP parameters of one MAIL or RCPT."""

CHUNK_SIZE_DIGITS = 19
"""Of BDAT's number of octets; RFC 3030 section 2 sets no bound, and no message has 2^63 octets."""

COMMANDS_WITHOUT_MAIL = 1000
"""NOOP, RSET, EHLO, VRFY and the like, and every refused RCPT, between two messages of a session; more get 421.
Each costs little, but whoever pipelines a million of them has the server do nothing else meanwhile
(RFC 5321 section 7.8)."""

CHUNKS_OF_MESSAGE = 20_000
"""BDAT commands of one message: 2.5 KB each would fill the default limit. More are an attack: 421."""

ATRN_DOMAINS = 100
"""Domains of one ATRN (RFC 2645 section 5.2.1); the command line's length allows hardly more."""

DOMAIN_CACHE_ENTRIES = 4096
"""Spellings of domains whose check is remembered; the busiest domains come in every other command."""

XTEXT_ENVID_BYTES = 100
"""ENVID= (RFC 3461 section 4.4)."""

XTEXT_ORCPT_BYTES = 500
"""ORCPT= (RFC 3461 section 4.2)."""

SASL_NAME_BYTES = 512
"""An authentication or authorization identity; ours are addresses, 64 + 1 + 255 octets."""

SASL_NONCE_BYTES = 18
"""Of our own in a SCRAM or CRAM-MD5 exchange; 144 bits are not guessed (RFC 5802 section 9)."""

REPLY_CACHE_ENTRIES = 1024
"""Reply lines of peers whose reading is remembered; most say the same few things."""

COMMAND_TEXT = 200
"""Characters of a refused command that go into the ledger."""

SMTP_UNKNOWN_COMMANDS_TEXT = 40
"""Characters of a peer's unknown verb that we repeat to it or to the ledger."""

# ---- waits (seconds) -----------------------------------------------------------------------------

CLIENT_CONNECT_S = 30.0
CLIENT_GREETING_S = 300.0
"""RFC 5321 section 4.5.3.2.1."""
CLIENT_COMMAND_S = 300.0
"""MAIL and RCPT, RFC 5321 sections 4.5.3.2.2 and .3; also EHLO, STARTTLS, AUTH."""
CLIENT_DATA_S = 120.0
"""RFC 5321 section 4.5.3.2.4."""
CLIENT_CONTENT_S = 180.0
"""Each block of content, RFC 5321 section 4.5.3.2.5."""
CLIENT_END_OF_DATA_S = 600.0
"""RFC 5321 section 4.5.3.2.6."""
CLIENT_TURN_S = 600.0
"""ATRN, RFC 2645 section 5.2.1: at least ten minutes; TURN and ETRN likewise."""
CLIENT_QUIT_S = 5.0
"""Politeness only: nothing depends on the answer."""
TLS_HANDSHAKE_S = 60.0
SERVER_CONTENT_S = 180.0
"""Silence inside DATA, RFC 5321 section 4.5.3.2.5."""
SWEEP_S = 1.0
"""How often the one sweep looks at the deadlines of all connections."""
DNS_QUERY_S = 3.0
DNS_TOTAL_S = 15.0
STOP_GRACE_S = 5.0
"""From the order to stop until conversations are cut; RFC 5321 section 3.8 lets us say 421."""

PROXY_HEADER_S = 5.0
"""A balancer sends its PROXY header at once; who has not by then is none."""

FUTURE_RELEASE_MAX_S = 2_592_000
"""How far ahead a user may hand in mail (RFC 4865 section 3): thirty days."""

# ---- content -------------------------------------------------------------------------------------

CONTENT_IN_ROW_BYTES = 65_536
"""Content up to this size lives in the queue's and the mailbox's row, larger in a file of its own."""

HEADER_BYTES = 262_144
"""The header block of a message; more is 552 5.3.4 (RFC 5321 section 4.5.3.1 sets none)."""

CONTENT_OVERRUN_BYTES = 1_048_576
"""Content that is refused for its size is read on for its true end up to twice the limit and this much."""

READ_BYTES = 65_536
"""One read from a content file, one write to a socket."""

SPOOL_AHEAD_BYTES = 1_048_576
"""Content received but not yet on its way to the file; reading from the peer pauses above it."""

NOTIFICATION_HEADER_BYTES = 65_536
"""Of the original's header, returned in a notification (RFC 3462 section 2, text/rfc822-headers)."""

NOTIFICATION_CONTENT_BYTES = 65_536
"""An original up to this size is returned whole when RET=FULL asks for it; of a larger one its header
(RFC 3461 section 4.3 lets us)."""

MESSAGE_ID_TEXT = 250
"""Octets of a Message-ID that go into the ledger (RFC 5322 section 3.6.4 sets no limit but the line's 998)."""

# ---- MIME structure (RFC 2045, RFC 2046): a message over one of these is not parsed ----------------

MIME_PARTS = 10_000
"""Parts of one message, those inside parts counted."""

MIME_DEPTH = 100
"""How deep parts may lie in parts; replies to replies reach about ten."""

MIME_HEADER_BYTES = 524_288
"""The header of one part; the message's own has HEADER_BYTES at most, and our trace fields before it."""

MIME_HEADERS_BYTES = 8_388_608
"""All headers of one message."""

MIME_BOUNDARY_BYTES = 200
"""A boundary; RFC 2046 section 5.1.1 says 70, and some programs have longer ones."""

MIME_DASHED_LINES = 1_000_000
"""Lines that begin with two hyphens, each of which might be a boundary: about a second's work."""

CONVERSIONS_AT_ONCE = 4
"""Large contents of one shard being examined or made 7-bit."""

# ---- queue and delivery --------------------------------------------------------------------------

THREADS_TURN_S = 0.0002
"""Seconds that a thread may keep the interpreter while another asks for it; Python's own is 0.005."""

COMMIT_BATCH = 256
"""Items of one group commit."""

WRITER_QUEUE = 20_000
"""Items waiting for a store's writer; more is StoreUnavailable."""

GROUPS_IN_MEMORY = 20_000
"""Groups that the scheduler holds; the rest waits in the store."""

GROUPS_OF_ONE_DESTINATION = 5000
"""Of those: a slow destination with much mail leaves room for the others, and 20 connections have work for long."""

GROUPS_OF_ONE_MESSAGE = 2000
"""Of those: a message to a hundred thousand domains goes out in portions, and leaves room for all others."""

GROUPS_FRESH_SHARE = 4
"""One part in so many of those is for what comes in now; a backlog has the rest."""

CONTENT_IN_MEMORY_BYTES = 67_108_864
"""Content of fresh messages kept for the first attempt; beyond it the store is read."""

ATTEMPTS_AT_ONCE = 500
"""Outgoing connections of one worker."""

CONCURRENCY_FIRST = 2
"""Connections to a host of which nothing is known yet; it grows from here."""

ROUND_AFTER_SETBACK = 20
"""Transactions that must go well after a host has said that it has enough, before one connection more is tried."""

DEFERRALS_IN_A_ROW = 10
"""Transactions in which everybody was put off; then one connection is enough to see when that is over."""

WAYS_REMEMBERED = 20_000
"""Destinations whose hosts are known for WAY_LIFETIME_S without asking; as many as there are groups in memory."""

WAY_LIFETIME_S = 60.0
"""How long a destination's hosts are taken as known; then the resolver is asked, which knows the answer's own time."""

WAYS_ASKED_AT_ONCE = 1000
"""Destinations whose hosts are being looked up; none of them has a connection yet, so it takes none from others."""

DEAD_REMEMBERED = 10_000
"""Hosts, and sets of them, that could not be reached when last tried (RFC 5321 section 4.5.4.1 asks for the list)."""

DEAD_MAX_S = 900.0
"""Longest time for which a dead host is left alone; before that, half the wait of the mail for it."""

OFFLINE_HOSTS = 5
"""Different hosts in a row that cannot be reached while nobody answers: then it is us who are cut off."""

OFFLINE_PROBE_S = 30.0
"""How often it is tried then whether the network is back."""

OFFLINE_PROBES = 32
"""Destinations with which it is tried at once, at most; with one at first, and twice as many each time."""

OFFLINE_PROBE_FRESH_S = 1.0
"""The same with a message that has just come in: it must not wait for long because some others are dead."""

BUDGET_AGAIN_S = 0.25
"""A lane that may have no more connections because other lanes for the same hosts have them asks again after this."""

BUDGET_SHARE_S = 2.0
"""How long after the last of these refusals those who have connections to the hosts keep to their share."""

PACES_REMEMBERED = 20_000
"""Sets of hosts whose rate is kept, as many as there are groups in memory; the first forgotten are those at rest."""

PACE_YIELD_S = 0.01
"""So much later asks who had the last turn of a rate, where others wait for the same moment."""

CUTS_PER_ATTEMPT = 2
"""Connections that may end under a message before its attempt counts as failed; an idle connection that the
server had closed already is the usual first one."""

BARREN_CONNECTIONS = 3
"""Connections to a destination, one after the other, that end under mail before any of it was answered; then all
that waits for it is deferred, for a server that says 421 to everything is not to be asked once for each message."""

TRANSACTIONS_IN_FLIGHT = 2
"""Of one outgoing connection: one waits for its final reply, the next one's commands ride along."""

REFILL_BATCH = 1000
"""Groups taken from the store at once."""

REFILL_RETRY_S = 5.0
"""Pause after the store could not say what is due."""

DUE_LOOK_S = 300.0
"""Longest sleep of the scheduler while something is to be tried later: the clock may be set meanwhile."""

PATIENCE_LOOK_S = 1.0
"""Shortest time between two looks at what has waited too long without being tried."""

CLOCK_STEP_S = 60.0
"""A clock that goes back by so much has been wrong; what it said is looked through."""

SETTLE_WAIT_FIRST_S = 0.5
SETTLE_WAIT_MAX_S = 60.0
"""Between two tries to write an outcome down while the store is unavailable; doubled each time up to this."""

ORIGINAL_TRIES = 6
"""Attempts to read a message for the notification about it, some 30 seconds; then its sender is told without it."""

LOCAL_DELIVERIES_AT_ONCE = 2000
"""Groups on their way into mailboxes; they share commits."""

CONTENT_FETCHES_AT_ONCE = 16
"""Contents being read from the store for local delivery."""

OUTBOX_BATCH = 200
"""Blobs copied from the outbox to the ledger at once."""

OUTBOX_PAUSE_S = 0.5
"""From the first acceptance after a pause until its story is copied to the ledger."""

HOUSEKEEPING_S = 3600.0

DELIVERY_KEYS_OLDER_THAN_S = 86_400.0
"""Delivery keys younger than this are not even looked at by the sweep."""

MX_HOSTS = 20
"""MX hosts taken from an answer, after sorting (RFC 5321 section 5.1 asks for all; an answer of ten
thousand is an attack)."""

ADDRESSES_PER_ATTEMPT = 10
"""Addresses tried in one attempt (RFC 5321 section 5.1: at least two)."""

DATABASE_BUSY_S = 10.0
"""How long a writer waits for another process's write to end."""

DATABASE_BUSY_AGAIN_S = 0.01
"""Between two attempts where SQLite itself does not wait."""

CHECKPOINT_PAGES = 4000
"""The write-ahead log is carried over into the file when it has grown by so many pages: rarely enough that
mail which is soon gone is never carried over, often enough that one round takes milliseconds."""

WAL_KEPT_BYTES = 67_108_864
"""A log that had to grow beyond this is cut back when it begins anew."""

READS_WAITING = 1000
"""Queries waiting for a store's reading thread; more is StoreUnavailable."""

REOPEN_WAIT_FIRST_S = 0.1
REOPEN_WAIT_MAX_S = 5.0
"""Between two attempts to open a database again after its disk failed; doubled each time up to this."""

QUEUE_PAGE_GROUPS = 500
"""Groups that an administrator's question reads, or changes, in one go: mail goes on in between."""

QUEUE_IDS_AHEAD_S = 60.0
"""How far ahead of the clock the queue remembers ids as given out, so that it need not write with each one;
after a crash, ids run ahead of the clock by so much at most."""

FILE_THREADS = 4
"""Threads that write and read the queue's content files."""

BACKUP_READ_BYTES = 1_048_576
"""One read of a file that is copied into a backup or out of one, or summed."""

BACKUP_STEP_PAGES = 4096
"""Pages of a database that are copied before a look at whether the command was interrupted: 16 MiB."""

UPGRADE_COPIES = 2
"""Copies of a database that are kept from before its last upgrades to another format."""

BACKUP_DESCRIPTORS = 8192
"""Files that a backup has open at once: the queue and all holds are copied as of one moment."""

RESTORED_AGAIN = 64
"""How often one message comes back out of one backup, having been removed in between."""

INTEGRITY_COMPLAINTS = 20
"""Lines of an integrity check; a damaged file has more than anybody reads."""

DISK_RESERVE_BYTES = 104_857_600
"""Below this much free space mail is answered 452 4.3.1 at MAIL."""

DISK_RESERVE_FILES = 1000
"""Fewer files than this could still be made: likewise."""

DISK_LOOK_S = 1.0
"""How long the answer to "how much is free" is kept."""

# ---- mailboxes -----------------------------------------------------------------------------------

MAILBOX_SHARDS = 64
"""Files that the mailboxes are spread over, by account id. Never to be changed: it says where the mail is."""

ACCOUNTS_NAMED = 5
"""Accounts that `check` names of those whose mailbox file is set aside."""

AUDIT_REASON_CHARACTERS = 500
"""Why an administrator looked into a mailbox, as it is kept."""

MAILBOX_READ_BYTES = 16_384
"""One read of large content of a mailbox: what a session that fetches it slowly has in memory is bounded by it."""

MAILBOX_COMMIT_BATCH = 2048
"""Deliveries and removals of one round of commits, one commit for each shard they touch."""

CONTENT_READERS = 4
"""Threads that read large content; a slow disk then holds up that many clients at a time, not the loop."""

MAILBOX_PAGE = 5000
"""Messages of a mailbox that are listed at once where all its folders are gone through."""

ORPHANS_PER_ROUND = 1000
"""Files without a message that one round of the sweep takes from one shard."""

DELIVERY_KEYS_PER_COMMIT = 1000
"""Keys forgotten in one commit; the shard takes deliveries between two."""

# ---- holds and pick-ups ---------------------------------------------------------------------------

HOLDS = 10_000
"""Domains with a hold, configured or left over."""

HOLDS_OPEN = 32
"""Files of holds that are open at once, for writing and for reading each; the one unused longest is closed."""

HOLD_SETTLEMENTS_AT_ONCE = 64
"""Messages out of one hold whose outcome is being written down; more are not begun."""

HOLD_LOOK_S = 60.0
"""How often holds are looked through for what must be told, has waited too long or is held no more."""

HOLD_REPORTS = 100
"""Reports of one hold taken up in one look."""

HOLD_DRAINS_AT_ONCE = 20
"""Holds of one worker that are being emptied at once."""

HOLD_LOCK_TRIES = 5
"""How often ETRN tries to lock a hold that another has, HOLD_LOCK_AGAIN_S apart."""

HOLD_LOCK_AGAIN_S = 1.0

ETRN_OF_CLIENT = 10
"""ETRN commands of one client within ETRN_MEMORY_S; more are answered 458 (RFC 1985 section 4 warns of floods)."""

ETRN_MEMORY_S = 60.0

PICKUPS = 1000
"""`[[pickup]]` entries."""

PICKUP_MESSAGES = 100_000
"""Messages of a maildrop elsewhere that are looked at in one session; the rest comes in the next."""

PICKUP_ANSWER_S = 30.0
"""How long an administrator's question waits for a pick-up to be over, and is then asked again."""

PICKUP_S = 3600.0
"""One session of a pick-up, at most; what was not fetched comes with the next."""

POP3_REPLY_LINE_BYTES = 2048
"""A line of a POP3 server's answer; RFC 1939 section 3 allows 512, we bear four times that."""

HOLD_PAGE = 200
"""Messages of a hold that are listed at once; a hold may have any number."""

# ---- DNS -----------------------------------------------------------------------------------------

DNS_CACHE_ENTRIES = 50_000
DNS_TTL_MAX_S = 86_400
DNS_NEGATIVE_TTL_MAX_S = 900
"""RFC 2308 section 5 allows up to three hours; a new domain should not wait so long."""
DNS_QUERIES_AT_ONCE = 500
DNS_FAILURE_TTL_S = 2.0
"""How long a failed look-up is not asked again (RFC 2308 section 7.1 allows five minutes; mail waits for it)."""
DNS_CNAMES = 8
"""Aliases followed for one question."""
DNS_SERVERS = 3
"""Name servers asked, like resolv.conf(5)."""
DNS_ROUNDS = 2
"""How often each of them is asked before a look-up has failed."""
DNS_UDP_BYTES = 1232
"""The answer we say we can take over UDP (RFC 6891 section 6.2.5; no fragments on any sane path)."""
DNS_FORGERIES = 32
"""Datagrams that do not fit the question; after so many somebody is guessing, and the query is given up."""
DNS_REPLY_BYTES = 16_384
"""A reply over TCP; reading 64 KiB of hostile records would stop the loop for 150 ms."""
DNS_RECORDS = 200
"""Records kept of one answer."""

# ---- passwords -----------------------------------------------------------------------------------

PASSWORD_BYTES = 1024
SCRAM_ITERATIONS = 100_000
"""Rounds of PBKDF2 for new SCRAM keys; RFC 7677 section 4 asks for 4096 at least, of its day."""
SCRAM_ITERATIONS_MAX = 2_000_000
"""Rounds that a server may make our client work; half a second, on the loop's thread."""
PASSWORD_QUEUE = 64
"""Checks waiting for the hashing pool; more is answered 454 4.7.0."""
PASSWORD_CACHE_S = 600.0
"""How long a success is remembered; POP3 clients come every few minutes."""
PASSWORD_CACHE_ENTRIES = 10_000

# ---- POP3 ----------------------------------------------------------------------------------------

POP3_COMMAND_LINE_BYTES = 512
"""RFC 2449 section 4 (255 and CR LF); more for long user names and base64."""
POP3_IDLE_S = 600.0
"""RFC 1939 section 3: at least ten minutes."""
POP3_BAD_COMMANDS = 20
"""Unknown commands, commands out of order and refused passwords until the session ends."""
POP3_COMMANDS_WITHOUT_MAIL = 1000
"""NOOP, STAT, CAPA, LIST and the like until a message is fetched, beside POP3_COMMANDS_OF_MESSAGE for each of the
maildrop; more end the session, as COMMANDS_WITHOUT_MAIL does over SMTP."""
POP3_COMMANDS_OF_MESSAGE = 5
"""LIST, UIDL, TOP and DELE of every message, and one to spare."""
POP3_OUTPUT_BYTES = 1_048_576
"""Replies that wait to be sent; above it the next pipelined command waits."""
POP3_WRITE_AHEAD_BYTES = 24_576
"""Octets of a message that wait for a slow reader before the next are read: with a read of MAILBOX_READ_BYTES on its
way and its transparency a RETR keeps less than 64 KiB."""
MAILDROP_MESSAGES = 1_000_000

# ---- directory -----------------------------------------------------------------------------------

DIRECTORY_CACHE_ENTRIES = 20_000
"""Addresses whose account, or absence, is remembered: some 15 MB; more accounts than that are read again."""

DIRECTORY_RECHECK_S = 0.2
"""How long a change by another process may go unnoticed; the contract says a second."""

DIRECTORY_LOOKUP_BUSY_S = 0.25
"""How long a lookup, which is made on the loop, waits for SQLite's locks; readers wait only during a recovery."""

# ---- ledger --------------------------------------------------------------------------------------

LEDGER_QUEUE = 50_000
"""Entries waiting to be written; more are dropped and counted (they never hold up mail)."""
LEDGER_FLUSH_S = 0.5
TRACE_ENTRIES = 10_000

LEDGER_BLOB_ENTRIES = 64
"""Recorded entries that are written as one blob: more are fewer rows, but all of a blob is looked through to
find one entry of it."""

# ---- sockets -------------------------------------------------------------------------------------

LISTEN_BACKLOG = 1024
"""Connections that the kernel (or the virtual network) holds until we accept them."""
ACCEPT_RETRY_S = 1.0
"""How often a listener is looked after: one that the loop gave up, for want of file descriptors, listens again."""
TLS_SHUTDOWN_S = 5.0
"""Wait for the peer's close_notify, which nothing depends on; then the connection is closed."""
TLS_RELOAD_S = 1.0
"""How often, at most, the certificate's files are looked at for a change."""
DESCRIPTORS_BESIDE = 2000
"""File descriptors of a process for everything but sessions of clients: 64 mailbox files with their logs and several
connections each, ATTEMPTS_AT_ONCE, content files, the queue, the ledger."""
UNIX_PATH_BYTES = 107
"""A Unix socket's path (sockaddr_un, unix(7))."""
VIRTUAL_WINDOW_BYTES = 65_536
"""Octets on their way or unread in one direction of a virtual connection: TCP's window."""

# ---- terminals (RFC 821 section 3.4) ---------------------------------------------------------------

WATCHERS = 20
"""Terminals that watch at once; each has one of the CONTROL_CLIENTS' places."""

WATCHERS_OF_ADDRESS = 5

WATCH_MESSAGES = 100
"""Messages on their way to one terminal; one with more takes none."""

WATCH_POLL_S = 20.0
"""The longest silence between a terminal and the server; each then hears from the other."""

WATCH_LEASE_S = 10.0
"""A terminal that has not asked again for so long is gone."""

WATCH_ACK_S = 5.0
"""A message is shown within this time, or it was not shown: the client waits for the answer to its data."""

TERMINAL_MESSAGE_BYTES = 65_536
"""A larger message is for no terminal."""

TERMINAL_LINES = 1000

TERMINAL_LINE_CHARACTERS = 1000

# ---- control socket ------------------------------------------------------------------------------

CONTROL_LINE_BYTES = 1_048_576

# ---- what an administrator is shown --------------------------------------------------------------

QUEUE_LISTED = 10_000
"""Groups that one `queue list` prints."""

SUMMARY_DESTINATIONS = 20_000
"""Destinations that one `queue summary` tells of; the totals are those of all."""

SUMMARY_BLOCK_GROUPS = 4000
"""Groups that the store counts at once for `queue summary`: about a millisecond that the event loop waits."""

SUMMARY_CHOSEN = 1000
"""Destinations up to which the store finds those with most groups first, and then looks at them alone."""

SUMMARY_SHOWN = 50
"""Destinations that it prints when nothing else is asked for: those with most mail."""

PAUSED_DESTINATIONS = 10_000
"""Destinations that an administrator can have paused at a time."""

REASON_CHARACTERS = 400
"""What an administrator may say to the sender whose mail is returned; it stands in one line of the notification."""

ORDER_S = 40.0
"""A large order on the queue is carried out in parts of this length, each within CONTROL_ANSWER_S."""

TRACE_MESSAGES = 50
"""Messages, the latest, whose stories one `trace` by address tells."""

PROXY_TEXT_BYTES = 107
"""The longest PROXY header in text, with its CR LF (HAProxy's PROXY protocol, section 2.1)."""

PROXY_TLV_BYTES = 4096
"""Addresses and TLVs of a binary PROXY header; a proxy that passes a client certificate on needs some hundreds."""

# ---- reception -----------------------------------------------------------------------------------

CONTENT_RATE_BYTES_S = 64
"""Least average speed of a client inside DATA; less is a slow attack on our slots: 421 4.4.2."""

CONTENT_RATE_WINDOW_S = 30.0
"""How long a client is watched before its speed is judged, again and again."""

KEEPALIVE_IDLE_S = 60
KEEPALIVE_EVERY_S = 10
KEEPALIVE_TRIES = 4
"""A peer that vanished without a word is known to be dead after 100 s, on every connection that we accept; what it
held, such as a maildrop, is free then."""

SESSION_OUTPUT_S = 60.0
"""How long a client may leave our replies unread, and how long a closed session may take to send its last."""

LOOP_LAG_PAUSE_S = 0.25
"""A loop that runs this late stops accepting connections."""

LOOP_LAG_RESUME_S = 0.1
"""And accepts again when it is no later than this."""

POLICY_LOOKUP_S = 2.0
"""One look-up of a rule about a client, from its start at connection or MAIL; then it counts as no answer."""

POLICY_LOOKUPS_AT_ONCE = 1000
"""Look-ups under way for rules; more count as no answer."""

POLICY_NAMES = 10
"""PTR names of one client that are followed (RFC 8601 section 2.7.3 leaves it to us; thousands are an attack)."""

INPUT_TEXT = 200
"""Characters of one answer of the DNS that a verdict keeps."""

VERDICT_INPUTS = 8
"""Answers that a verdict keeps."""

CLIENT_FACTS_ENTRIES = 10_000
"""Answers about clients, kept so that the next connection need not ask."""

CLIENT_FACTS_S = 60.0
"""How long such an answer is used; the resolver's own cache follows the TTL."""

AUTH_FAILURES = 5
"""Wrong passwords on one connection, then 421 4.7.0."""

AUTH_DELAY_S = 0.5
"""The wait before the first 535; it doubles with each of a client, whatever its connection."""

AUTH_DELAY_MAX_S = 8.0

AUTH_FAILURES_OF_CLIENT = 50
"""Wrong passwords of one client within AUTH_MEMORY_S, over all its connections; then its logins are turned away
unchecked. An office behind one address has that many typing errors, a guesser has them in a minute."""

AUTH_MEMORY_S = 600.0
"""How long a wrong password is held against a client."""

GUESSERS = 10_000
"""Clients whose wrong passwords are counted; the one that was quiet longest is forgotten first."""

REFUSED_RECIPIENTS_DELAYED = 20
"""Refused recipients of one session from which on each further reply is delayed (guessing of addresses)."""

REFUSED_RECIPIENT_DELAY_S = 1.0

REFUSED_RECIPIENTS = 100
"""Refused recipients of one session, then 421 4.7.0."""

REFUSED_RECIPIENTS_OF_CLIENT = 500
"""Refused recipients of one stranger within REFUSED_RECIPIENTS_MEMORY_S, over all its connections; then it is turned
away at the door. A large server that passes junk on comes back later; one that collects addresses gets too few."""

REFUSED_RECIPIENTS_MEMORY_S = 600.0

NETWORK_SHARE = 4
"""How many times what one client may the network around it may in all: sessions, connections, wrong guesses. Few
networks have more than a handful of mail servers; users who have logged in are no longer counted."""

SUBMISSION_SHARE = 10
"""One part in so many of all sessions is kept for our users when others take the rest."""

CONNECTION_RATE_S = 60.0
"""The time in which connections are counted."""

CONNECTION_RATE_CLIENTS = 50_000
"""Clients and networks whose connections are counted at a time, some 10 MB; more are not counted until the next
minute, and meet the limits on sessions alone."""

USAGE_WRITE_S = 5.0
"""From the acceptance of an account's message until it stands in the directory's counters: what a crash may lose
of them, and how late other workers know."""

VERDICTS_KEPT = 100
"""Verdicts that the story of one message keeps; a thousand recipients need not a thousand rows."""

POP3_SESSIONS = 5000
"""Of one process; more are greeted with -ERR [SYS/TEMP] (RFC 3206 section 4)."""

SENDMAIL_INPUT_BYTES = 104_857_600
"""What `postroad sendmail` reads; the server's own limit on messages is usually lower and speaks first."""

# ---- processes -----------------------------------------------------------------------------------

CONTROL_PART_BYTES = 262_144
"""A long answer over the control socket is cut into lines of about this size."""

CONTROL_ANSWER_BYTES = 268_435_456
"""One whole answer over the control socket: ten thousand groups with all their recipients."""

CONTROL_ANSWER_S = 60.0
"""How long an administrator's verb may take a worker; `queue flush` of a large queue takes seconds."""

CONTROL_CLIENTS = 32
"""Administrators' commands at once; more wait in the socket's backlog."""

WORKER_START_S = 60.0
"""From the start of a worker until it says that it is ready; a large shard is checked on opening."""

WORKER_RESTART_S = (0.1, 30.0)
"""The first wait before a dead worker is replaced, and the longest; it doubles between."""

WORKER_STEADY_S = 60.0
"""A worker that has lived so long starts again at the shortest wait."""

STOP_MARGIN_S = 10.0
"""Beyond STOP_GRACE_S, for the stores to write what they have and close; then SIGKILL."""

SHARD_WAIT_S = 10.0
"""How long a starting worker waits for another process (a command, its own predecessor) to leave the shard."""

ERRORS_LOG_BYTES = 4_194_304
"""run/errors.log is begun anew above this size; one predecessor is kept."""

CHECK_PROGRAM_S = 30.0
"""How long `postroad check` waits for the program to be loaded by the user who is to serve."""

HANDED_SOCKETS = 256
"""Sockets that are taken over from systemd."""

LENT_WAIT_S = 2.0
"""How long a worker waits for a larger portion of a limit; then it has the one it has."""

LENT_NO_S = 0.25
"""After a no to the question for a larger portion it is not asked again for so long: a flood is not to become one of
questions."""

LENT_REFUSALS = 10_000
"""Such refusals that a worker remembers; beyond that it begins anew and asks again."""

LENT_CHUNKS = 16
"""One part in so many of a limit, divided by the number of workers, is asked for beyond the present need."""

LENDING_TIDY_S = 10.0
"""How often the supervisor forgets budgets that are at rest."""

CHANNEL_BUFFER_BYTES = 4_194_304
"""What may wait for a process that does not read its channel; beyond it, counts of wrong guesses are not passed on
to it, and portions are not asked for."""

CHANNEL_TALLIES = 2000
"""Counts of guessers, the latest of each kind, that a process is told when it begins."""

CHANNEL_WORDS = 1000
"""Words about limits in one line of a channel."""

OUTBOX_LOOK_S = 2.0
"""How often the queue's outbox is looked at even if nobody has said that there is something in it."""

# ---- Aliases, forwarding, quotas -----------------------------------------------------------------

ALIAS_RECIPIENTS = 1000
"""Addresses that an alias leads to at last; more are the work of a mailing list."""

ALIAS_STEPS = 20
"""Aliases one behind the other; more are taken for a mistake."""

ALIAS_TARGETS = 1000
"""Addresses that one alias names."""

ALIAS_ANCESTORS = 200
"""Aliases that lead to a changed one, and are looked at again when it changes."""

FORWARD_TARGETS = 20
"""Addresses that one account forwards to."""

EXPANDED_RECIPIENTS = 10_000
"""Of one message after all its aliases were followed; a recipient that leads over it gets 452 (RFC 5321 section
4.5.3.1.10)."""

VACATION_DAYS_MAX = 365
VACATION_TEXT_BYTES = 16_384
VACATION_SUBJECT_CHARACTERS = 200
VACATION_REPLIES_KEPT = 10_000
"""Senders of one account that are remembered; the oldest is forgotten for the next."""
VACATION_REPLIES_AT_ONCE = 100
"""Being written at a time; a sender over it is told with its next message."""

QUOTA_WARNING_SHARE = 0.9
"""Of the quota: then its owner is told, once until there is more room again."""
QUOTA_ANSWERS = 20_000
"""Sizes of mailboxes remembered."""
QUOTA_ANSWER_S = 2.0
"""How long a mailbox is taken to be as large as it was, plus what was delivered since."""

USER_LIST_BYTES = 32 * 1024 * 1024
"""A list of users to import."""
USER_LIST_LINES = 200_000
USER_LIST_PAGE = 25
"""Lines imported in one request, so that each takes seconds at most (a password costs tens of milliseconds)."""

ARCHIVE_JOURNALED_REMEMBERED = 50_000
"""Messages of which is known that they are in the archive, or need not be: the store is not asked for them again."""
ARCHIVE_WAITING = 1000
"""Fresh messages that wait, with their content, to be in the archive; what comes beyond stays in the queue for now."""
ARCHIVE_COMPLAINTS = 100
"""Findings of one `archive verify` that are told in full; the rest are counted."""
ARCHIVE_PAGE = 200
"""Records read from a file of the archive at a time: between pages the log can be carried over."""
ARCHIVE_REMOVED_AT_ONCE = 500
"""Records whose content retention removes with one entry in the register."""
ARCHIVE_INDEXED_BYTES = 1024 * 1024
"""Of each message are looked through for words."""
ARCHIVE_FOUND = 1000
"""Messages that one search tells of."""
ARCHIVE_REASON_CHARACTERS = 500
"""Why somebody looks into the archive, as it is kept."""
ARCHIVE_HOLD_NAME_CHARACTERS = 100

# ---- Merged letters ------------------------------------------------------------------------------

MERGE_TABLE_BYTES = 32 * 1024 * 1024
"""The CSV of people."""
MERGE_LINES = 50_000
MERGE_COLUMNS = 200
MERGE_FIELD_CHARACTERS = 65_536
"""Below the 131,072 at which the reader of CSV gives up."""
MERGE_PROBLEMS_TOLD = 50
"""Lines of a table whose trouble is told; the others are counted."""
MERGE_LETTERS_ASKED = 500
"""Letters whose fate is looked up at once."""
MERGE_AWAITED_MAX = 200_000
"""Merged letters whose end is waited for; that of more is found when somebody looks at the results."""
MERGE_PAGES_PER_ROUND = 40
"""Pages of MERGE_LETTERS_ASKED such letters that one round of housekeeping looks up."""
MERGE_STEPS = 300
"""Steps of a merged letter's story that are looked at, the newest; more attempts than one message has."""
MERGE_FAILURES_IN_A_ROW = 3
"""Letters that the server did not take, one after the other, before a merged run ends."""
SUPPRESSION_DAYS = 180
"""How long an address that does not exist is not written to; most systems do not give it to somebody else sooner."""
SUPPRESSION_DAYS_MAX = 36_500
SUPPRESSIONS_MAX = 1_000_000
SUPPRESSIONS_SHOWN = 10_000
"""In one answer, the newest."""

# ---- Mailboxes that come and go as files ---------------------------------------------------------

MBOX_FROM_LINE_BYTES = 1024
"""The line between two messages of an mbox; a longer one is text."""
MBOX_HEADER_SEARCHED_BYTES = 262_144
"""How far a Content-Length is looked for."""
IMPORT_MESSAGES = 1_000_000
"""Of one import, as many as a maildrop may show: what is remembered of each takes 100 octets."""
IMPORT_MESSAGES_UNDER_WAY = 256
"""Given to the mailbox store and not durable yet: they share commits."""
IMPORT_BYTES_UNDER_WAY = 16 * 1024 * 1024
"""Of these: so much is in memory or on the disk twice, and a little more than one message."""
IMPORT_MEMORY_BYTES = 262_144
"""A message that is larger goes into a file while it is read; a whole header fits in it."""
IMPORT_READ_BYTES = 1_048_576
IMPORT_MESSAGE_BYTES = 2_000_000_000
"""One message of an import; a larger one is passed over and named."""
IMPORT_PROBLEMS_TOLD = 100
"""Messages that could not be taken, each with the reason; the rest are counted."""
FOLDER_NAME_CHARACTERS = 200
"""Of the name of a folder in a mailbox, those above it included."""

# ---- The deep check ------------------------------------------------------------------------------

CHECK_IN_FLIGHT_S = 3600.0
"""Content that was touched within this time may still get its row: as long as a session may last between messages."""
CHECK_COMPLAINTS = 50
"""Told of each database; the rest are counted."""

# ---- Mailing lists -------------------------------------------------------------------------------

LIST_MEMBERS = 20_000
"""Of one list. All are written down in the one transaction that settles the message to the list."""

LIST_MEMBERS_TOLD = 1000
"""Members of a list that one answer to EXPN names (RFC 5321 section 3.5.2); of a larger one it names none."""

LIST_PORTION = 1000
"""Members in one of the messages that a message to a list becomes."""

LIST_PAGE = 1000
"""Members in one request of an administrator, and in one look into the directory."""

LIST_NAME_BYTES = 31
"""Of the name of a list: `-confirm+` and a token of 24 stand behind it within LOCAL_PART_BYTES (RFC 5321 section
4.5.3.1.1), and so do all its other addresses."""

LIST_FILE_BYTES = 8_388_608
"""A file of members to let in, one in a line."""

LIST_OWNERS = 20

LIST_DESCRIPTION_CHARACTERS = 100

LIST_EXPANSIONS_AT_ONCE = 2
"""Messages being expanded at a time; each has the recipients of all members in memory."""

LIST_BOUNCES_MAX = 5
"""Bounces of a run that suspend a member."""

LIST_BOUNCE_APART_S = 86_400
"""Bounces within a day of one that was counted say nothing new of a member."""

LIST_BOUNCE_RUN_S = 14 * 86_400
"""A run ends when nothing has come back for so long."""

LIST_BOUNCE_BYTES = 1_048_576
"""How far a bounce is read for the fields of a delivery status."""

LIST_BOUNCE_RECIPIENTS = 1000
"""Recipients of one delivery status that are looked at."""

LIST_TOKEN_DAYS = 3
"""For how long a question whether somebody wants to join or leave can be answered."""

LIST_ANSWER_APART_S = 600.0
"""An address that has just been answered by a list is not answered again."""

LIST_ANSWERS_KEPT = 10_000
"""Addresses of which that is remembered; a full memory begins anew."""

LIST_POLICY_LOOKS = 5
"""Names asked for the policy of an author's domain, from the longest."""
