"""The stories, one for each row of the facts about the client port; the number is the section there.

Each story leaves the sentinel as it found it: users are deleted, masters removed, settings put back.
"""

from __future__ import annotations


def _story(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def _stories(text: str) -> dict[str, list[str]]:
    """Stories of one text: a line that ends in a colon and begins with a number names the next one."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in _story(text):
        if line[:1].isdigit() and line.endswith(":"):
            name = line[:-1]
            found[name] = []
        elif line:
            found[name].append(line)
    return found


CONNECTION = _stories(
    """
    1.2 pipelines of both forms:
    a ping
    a PING x
    a "ping"
    a ping "a b"
    1.6 unknown commands:
    a foo
    a foo a b
    a quit
    a RESET
    a select 0
    a config get x
    a multi
    a echo x
    a command|count
    a get "x y" z
    a monitor
    a pubsub channels
    1.6 unknown subcommands:
    a client foo
    a client no-touch on
    a client capa redirect
    a client import-source on
    a client maint_notifications on
    a acl foo a b
    a command foo
    a sentinel foo
    a SENTINEL Foo x y z
    1.6 arity:
    a sentinel
    a client
    a acl
    a sentinel set a b c
    a sentinel master
    a sentinel masters x
    a sentinel info-cache
    a sentinel simulate-failure
    a sentinel monitor a b c
    a acl setuser
    a acl deluser
    a acl dryrun default
    a acl list x
    a client id x
    a client kill
    a client setname
    a role x
    a subscribe
    a psubscribe
    a publish x
    a auth
    a command count x
    1.6 arity of config and failover:
    a sentinel config get
    a sentinel config
    a sentinel failover
    a sentinel failover m1 coordinated x
    3.1 ping:
    a ping
    a ping x
    a ping ""
    a ping a b
    a hello 3
    a ping
    a subscribe x
    a ping
    a ping y
    3.1 ping of a subscriber:
    a subscribe x
    a ping
    a ping hello
    a ping a b
    a unsubscribe
    a ping
    3.2 auth without a password:
    a auth x
    a auth default x
    a auth default ""
    a auth nobody x
    a auth a b c
    a acl whoami
    3.3 hello without arguments:
    a hello
    3.3 hello:
    a hello 3
    a hello
    a hello 2
    a hello 4
    a hello x
    a hello 1 foo
    a hello 3 setname
    a hello 3 foo
    a hello 3 setname "a b"
    a client getname
    a hello 3 setname me auth default x
    a client getname
    a hello 2 auth nobody x
    a hello 3 auth a
    a hello
    3.3 hello leaves nothing half done:
    a hello 3 setname me auth nobody x
    a client getname
    a hello
    3.3 hello back to 2 while subscribed:
    a hello 3
    a subscribe x
    a client id
    a hello 2
    a client id
    a ping
    """
)

CLIENT = _stories(
    """
    3.4 id and names:
    a client id
    a client getname
    a client setname me
    a client getname
    a client setname "a b"
    a client setname "a\\x01"
    a client setname "\\xe9"
    a client setname ""
    a client getname
    a hello 3
    a client getname
    3.4 setinfo:
    a client setinfo LIB-NAME x
    a client setinfo lib-ver 1.2
    a client setinfo lib-foo x
    a client setinfo lib-name "a b"
    a client setinfo LIB-VER "a\\n"
    a client info
    a client setinfo lib-name ""
    a client info
    3.4 info:
    a client info
    a client setname me
    a client no-evict on
    a client info
    a subscribe a b
    b client info
    a client info
    3.4 info in RESP3:
    a hello 3
    a client info
    a psubscribe x
    a client info
    3.4 the last command:
    a client setname me
    b client list name me
    a foo
    b client list name me
    a role x
    b client list name me
    a client kill
    b client list name me
    a sentinel masters
    b client list name me
    a sentinel foo
    b client list name me
    3.4 list filters:
    a client setname lister
    a client list name lister
    a client list name nobody
    a client list name lister type normal
    a client list name lister type pubsub
    a client list name lister type PRIMARY
    a client list name lister not-type normal
    a client list name lister user default
    a client list name lister not-user default
    a client list name lister flags N
    a client list name lister flags P
    a client list name lister not-flags P
    a client list name lister db 0
    a client list name lister db 1
    a client list name lister not-db 1
    a client list name lister capa r
    a client list name lister not-capa r
    a client list name lister ip 127.0.0.1
    a client list name lister ip 1.2.3.4
    a client list name lister not-ip 1.2.3.4
    a client list name lister skipme yes
    a client list name lister skipme no
    a client list name lister idle 100
    a client list name lister maxage 100
    a client list name lister addr 1.1.1.1:1
    a client list name lister not-addr 1.1.1.1:1
    a client list name lister laddr 1.1.1.1:1
    a client list name lister not-laddr 1.1.1.1:1
    a client list name lister lib-name ""
    a client list name lister not-lib-name x
    a client list name lister lib-ver x
    a client list name lister not-lib-ver x
    a client list not-name nobody name lister
    a client list name nobody name lister
    a client list name lister name nobody
    a client list name lister type pubsub type normal
    a client list not-flags N not-flags P name lister
    a client list name lister not-lib-name ""
    a client list name lister capa ""
    a client list name lister not-flags PN
    a client list name lister not-id 1000000 1000001
    a client list name lister id 1000000 1000001 type normal
    3.4 list errors of all versions:
    a client list foo
    a client list type foo
    a client list type
    3.4 list errors:
    a client list id
    a client list id 0
    a client list id x
    a client list id -1
    a client list id 1 2 x
    a client list id type normal name nobody
    a client list not-id type
    a client list id user default
    a client list user nobody
    a client list maxage 0
    a client list maxage x
    a client list idle 0
    a client list idle x
    a client list flags ?
    a client list flags N?
    a client list skipme maybe
    a client list addr
    a client list db x
    a client list db 16
    a client list db -1
    a client list capa q
    a client list not-foo x
    a client list not-maxage 1
    a client list not-idle 1
    a client list not-id
    a client list not-id x
    a client list not-type foo
    a client list not-user nobody
    a client list not-flags ?
    a client list not-db x
    a client list not-db 16
    a client list not-capa q
    3.4 kill errors of all versions:
    a client kill foo
    a client kill 1.2.3.4:5
    a client kill id 0
    a client kill type foo
    a client kill addr 1.1.1.1:1
    a client kill laddr 1.1.1.1:1
    a client kill a b
    a client kill user nobody
    a client kill skipme maybe
    a client kill id 1000000 type normal
    a client kill id 1000000 foo
    3.4 kill errors:
    a client kill id x
    a client kill maxage 0
    a client kill id 1000000 1000001
    a client kill name nobody
    a client kill not-name nobody name nobody
    a client kill name nobody skipme no
    a client kill id 1000000 maxage
    3.4 kill by name:
    a client setname victim
    b client kill name victim
    a <
    3.4 kill by type:
    a subscribe x
    b client kill type pubsub
    a <
    3.4 who kills himself reads the reply:
    a client setname me
    a client kill name me skipme no
    3.4 who kills himself is skipped:
    a client setname me
    a client kill name me
    a ping
    3.4 kill by user:
    a acl setuser bob on nopass +@all &*
    b auth bob x
    a client kill user bob
    b <
    a acl deluser bob
    3.4 reply:
    a client reply on
    a client reply off
    a ping
    a foo
    a client reply skip
    a client reply on
    a ping
    a client reply skip
    a ping
    a ping
    a client reply foo
    a client reply skip
    a foo
    a foo
    3.4 reply off does not silence subscriptions:
    a client reply off
    a subscribe x
    a ping
    a client reply on
    3.4 pause:
    a client pause x
    a client pause -1
    a client pause 1 foo
    a client pause x foo
    a client pause 1 write extra
    a client pause 1
    a client unpause
    a client pause 1 WRITE
    a ping
    a client unpause
    3.4 unblock, no-evict, getredir, caching:
    a client unblock 3
    a client unblock x
    a client unblock 1 foo
    a client unblock 1 timeout
    a client unblock 1 ERROR
    a client no-evict on
    a client no-evict off
    a client no-evict x
    a client getredir
    a client caching yes
    a client caching no
    a client caching foo
    3.4 tracking:
    a client trackinginfo
    a client tracking foo
    a client tracking on
    a client getredir
    a client trackinginfo
    a client tracking off
    a client trackinginfo
    a hello 3
    a client tracking on
    a client trackinginfo
    a client tracking on bcast
    a client tracking off
    a client trackinginfo
    3.4 tracking modes:
    a hello 3
    a client tracking on optin
    a client trackinginfo
    a client caching yes
    a client trackinginfo
    a client caching no
    a client tracking on optout
    a client tracking off
    a client tracking on optout
    a client caching no
    a client trackinginfo
    a client caching yes
    a client tracking off
    a client tracking on bcast prefix a prefix b noloop
    a client trackinginfo
    a client tracking on bcast prefix ab
    a client tracking on optin
    a client tracking on bcast optin
    a client tracking on optin optout
    a client tracking on prefix x
    a client tracking on redirect x
    a client tracking on redirect 1000000
    a client tracking on redirect
    a client tracking on foo
    a client tracking off
    a client tracking on noloop
    a client trackinginfo
    a client tracking off
    a client tracking on bcast prefix ab prefix b
    a client tracking on bcast prefix a
    a client tracking on bcast prefix c prefix cd
    a client tracking on bcast prefix c
    a client tracking on bcast prefix b
    a client trackinginfo
    a client tracking on bcast optin
    a client tracking on optin
    3.4 help of client:
    a client help
    3.4 help of acl and command:
    a acl help
    a command help
    """
)

PUBSUB = _stories(
    """
    4.1 subscribe and unsubscribe:
    a subscribe a
    a subscribe a
    a subscribe b c
    a psubscribe p* p*
    a unsubscribe b x
    a punsubscribe y
    a punsubscribe
    a unsubscribe
    a unsubscribe
    a punsubscribe
    a ping
    4.1 the same in RESP3:
    a hello 3
    a subscribe a
    a subscribe a
    a psubscribe p*
    a unsubscribe x
    a punsubscribe p*
    a unsubscribe
    a unsubscribe
    a client id
    4.1 empty names:
    a subscribe ""
    a psubscribe ""
    a unsubscribe ""
    a punsubscribe ""
    4.1 publish:
    a publish __sentinel__:hello x
    a publish __SENTINEL__:hello x
    a publish foo x
    b subscribe __sentinel__:hello
    a publish __sentinel__:hello x
    b <
    4.1 messages:
    a subscribe +monitor
    a psubscribe +mon* *
    b sentinel monitor extra 127.0.0.1 10 1
    a <
    b sentinel set extra quorum 2
    a <
    b sentinel remove extra
    a <
    4.1 messages in RESP3:
    a hello 3
    a subscribe +monitor +set
    a psubscribe [-+]mon*
    b sentinel monitor extra 127.0.0.1 10 1
    a <
    b sentinel remove extra
    a <
    4.2 only some commands while subscribed:
    a subscribe x
    a info
    a client id
    a hello 3
    a auth x
    a quit
    a sentinel masters
    a sentinel foo
    a foo
    a role x
    a command count
    a ping
    a psubscribe y
    a punsubscribe y
    a unsubscribe x
    a client getname
    """
)

PROCESS = _stories(
    """
    5.1 sections of info:
    a info nope
    a info replication
    a info sentinel
    a info SENTINEL sentinel nope
    a hello 3
    a info sentinel
    5.1 all of info:
    a info
    a info all
    a info everything nope
    a info default
    a info server
    a info clients
    a info stats
    a info cpu
    a info stats clients server
    5.2 role:
    a role
    a hello 3
    a role
    5.3 shutdown refusals:
    a shutdown foo
    a shutdown abort
    a shutdown save nosave
    a shutdown abort now
    a shutdown nosave abort
    5.3 shutdown refusals of 9:
    a shutdown failover
    a shutdown safe failover
    2.3 command:
    a command count
    a command
    a command info
    a hello 3
    a command
    2.3 command info:
    a command info ping
    a command info PING sentinel|SET nope get quit
    a command info sentinel|foo ping|x
    a command info client
    a hello 3
    a command info role acl client|kill
    2.3 command list:
    a command list
    a command list filterby aclcat pubsub
    a command list filterby aclcat DANGEROUS
    a command list filterby aclcat nope
    a command list filterby pattern sub*
    a command list filterby pattern SENTINEL|M*
    a command list filterby module x
    a command list filterby foo x
    a command list filterby pattern
    a command list foo
    a command list filterby pattern a b
    2.3 command docs:
    a command docs ping
    a command docs nope
    a command docs ping nope client|list sentinel|slaves
    a command docs
    a hello 3
    a command docs
    2.3 command getkeys:
    a command getkeys ping
    a command getkeys nope
    a command getkeys sentinel masters
    a command getkeys sentinel foo
    a command getkeysandflags publish a b
    a command getkeys publish a
    a command getkeys
    """
)

ACL = _stories(
    """
    6.1 whoami, users, list:
    a acl whoami
    a acl users
    a acl list
    a acl getuser nobody
    a hello 3
    a acl getuser nobody
    6.1 getuser of the default user:
    a acl getuser default
    a hello 3
    a acl getuser default
    6.1 cat:
    a acl cat
    a acl cat string
    a acl cat PUBSUB
    a acl cat dangerous
    a acl cat slow
    a acl cat @slow
    a acl cat nope
    a acl cat a b
    6.1 genpass:
    a acl genpass
    a acl genpass 1
    a acl genpass 5
    a acl genpass 4096
    a acl genpass 4097
    a acl genpass 0
    a acl genpass -1
    a acl genpass x
    a acl genpass 1 2
    6.1 save and load without a file:
    a acl save
    a acl load
    6.1 deluser:
    a acl setuser bob
    a acl setuser carl
    a acl users
    a acl deluser nobody
    a acl deluser bob default carl
    a acl users
    a acl deluser bob nobody carl carl
    a acl users
    6.1 log arguments:
    a acl log reset
    a acl log
    a acl log 5
    a acl log 0
    a acl log -1
    a acl log x
    a acl log RESET x
    6.1 log:
    a acl log RESET
    a acl setuser bob on >pw +@connection +@pubsub -ping resetchannels &ok
    b auth bob wrong
    b AUTH nobody wrong
    b hello 3 auth carl wrong
    b auth bob pw
    b ping
    b ping x
    b sentinel masters
    b subscribe ok no
    b psubscribe ok*
    b publish nope x
    a acl log
    a acl log 2
    a hello 3
    a acl log 1
    a acl deluser bob
    a acl log reset
    6.1 dryrun:
    a acl setuser t on -@all +ping|x +subscribe +sentinel|masters &foo* (+psubscribe &foo*)
    a acl dryrun t ping
    a acl dryrun t ping X
    a acl dryrun t subscribe foo1
    a acl dryrun t subscribe foo1 bar
    a acl dryrun t psubscribe foo*
    a acl dryrun t psubscribe foo1
    a acl dryrun t publish foo x
    a acl dryrun t unsubscribe bar
    a acl dryrun t hello
    a acl dryrun t auth x
    a acl dryrun t auth
    a acl dryrun t sentinel masters
    a acl dryrun t SENTINEL Replicas m
    a acl dryrun t sentinel
    a acl dryrun t sentinel foo
    a acl dryrun t quit
    a acl dryrun nobody quit
    a acl dryrun t client|id
    a acl deluser t
    6.2 rules about commands:
    a acl setuser t +@all -sentinel +sentinel|masters
    a acl list
    a acl setuser t reset +@admin -@admin +@SLOW +client|ID +client -client|id
    a acl list
    a acl setuser t reset +ping|X +ping|y
    a acl list
    a acl setuser t +ping -ping
    a acl list
    a acl setuser t allcommands -@dangerous +role
    a acl getuser t
    a acl setuser t nocommands
    a acl getuser t
    a acl deluser t
    6.2 errors about commands:
    a acl setuser t +get
    a acl setuser t -get
    a acl setuser t +client|foo
    a acl setuser t +client|
    a acl setuser t +ping|
    a acl setuser t -ping|x
    a acl setuser t +sentinel|set|x
    a acl setuser t +ping|a|b
    a acl setuser t +@foo
    a acl setuser t -@foo
    a acl setuser t +@sentinel
    a acl setuser t +
    a acl setuser t +@
    a acl setuser t foo
    a acl setuser t on foo +get
    a acl setuser "a b"
    a acl setuser "a\\x00b"
    a acl users
    6.2 passwords:
    a acl setuser t >x >y >x
    a acl list
    a acl setuser t <x
    a acl setuser t <x
    a acl setuser t #xx
    a acl setuser t #2D711642B726B04401627CA9FBAC32F5C8530FB1903CC4DB02258717921A4881
    a acl setuser t #2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
    a acl getuser t
    a acl setuser t !2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
    a acl setuser t !2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
    a acl setuser t !zz
    a acl setuser t nopass
    a acl getuser t
    a acl setuser t resetpass
    a acl list
    a acl deluser t
    6.2 channels and keys:
    a acl setuser t &a &b &a
    a acl getuser t
    a acl setuser t &* &c
    a acl setuser t allchannels
    a acl setuser t &c
    a acl setuser t resetchannels ~k %R~r %W~w ~k %R~w
    a acl list
    a acl setuser t ~* ~x
    a acl setuser t allkeys
    a acl getuser t
    a acl setuser t resetkeys %RW~* ~a
    a acl list
    a acl setuser t "&a b"
    a acl setuser t "~a b"
    a acl setuser t %~x
    a acl setuser t %X~x
    a acl deluser t
    6.2 databases:
    a acl setuser t db=1,0,5,5
    a acl list
    a acl setuser t db=x
    a acl setuser t db=
    a acl setuser t db=1,,2
    a acl setuser t db=-1
    a acl setuser t db=99999999999
    a acl setuser t resetdbs
    a acl getuser t
    a acl setuser t alldbs (db=3 +ping)
    a acl getuser t
    a acl deluser t
    6.2 selectors:
    a acl setuser t (+ping) (+subscribe &x ~y) ( +info )
    a acl list
    a acl getuser t
    a hello 3
    a acl getuser t
    a hello 2
    a acl setuser t (on)
    a acl setuser t (+ping on) +foo
    a acl setuser t (+ping (+x))
    a acl setuser t (+ping
    a acl setuser t (+ping)x
    a acl setuser t )
    a acl setuser t (reset)
    a acl setuser t (allkeys ~a)
    a acl setuser t ()
    a acl list
    a acl setuser t clearselectors
    a acl list
    a acl deluser t
    6.2 all keys before others:
    a acl setuser t %RW~*
    a acl getuser t
    a acl setuser t %W~foo
    a acl getuser t
    a acl setuser t resetkeys ~foo %R~* %W~*
    a acl getuser t
    a acl deluser t
    6.2 other words:
    a acl setuser t "" ON
    a acl list
    a acl setuser t on nopass +@all &* (+ping)
    a acl setuser t reset
    a acl list
    a acl setuser X|y +ping
    a acl setuser x|y off
    a acl users
    a acl deluser X|y x|y
    a acl setuser ""
    a acl users
    a acl list
    a acl deluser t ""
    6.2 sanitize words:
    a acl setuser t sanitize-payload
    a acl getuser t
    a acl deluser t
    6.4 denied commands:
    a acl setuser bob on >pw -@all +ping +sentinel|masters +client|id
    b auth bob pw
    b ping
    b info
    b sentinel masters
    b sentinel myid
    b sentinel foo
    b sentinel master
    b client id
    b client list
    b foo
    b acl whoami
    b auth bob wrong
    b hello 3
    b auth bob pw
    a acl deluser bob
    b <
    6.4 denied channels:
    a acl setuser bob on >pw +@all resetchannels &ok*
    b auth bob pw
    b subscribe no
    b subscribe ok1 no
    b subscribe ok1
    b psubscribe ok1
    b psubscribe ok*
    b publish foo x
    b publish ok x
    b info
    b unsubscribe no
    b punsubscribe
    a acl deluser bob
    b <
    6.1 changes reach who is connected:
    a acl setuser bob on >pw +@all &*
    b auth bob pw
    a acl setuser bob -ping
    b ping
    a acl setuser bob +ping off
    b ping
    c auth bob pw
    b subscribe x
    a acl setuser bob resetchannels &x
    b <
    a acl setuser bob resetchannels &y
    b <
    a acl deluser bob
    6.1 who deletes himself:
    a acl setuser bob on >pw +@all &*
    b auth bob pw
    b acl deluser bob
    6.1 who takes his own channel:
    a acl setuser bob on >pw +@all &*
    b hello 3 auth bob pw
    b subscribe x
    b acl setuser bob resetchannels
    a acl deluser bob
    6.1 the default user is turned off and on:
    a acl setuser default off
    a ping
    b ping
    b auth x
    b auth default x
    a acl setuser default on resetpass
    b auth default ""
    c ping
    a acl setuser default nopass
    b ping
    c ping
    a acl setuser default >secret
    c ping
    c auth secret
    c ping
    d auth default secret
    a acl setuser default nopass
    d ping
    """
)

SENTINEL = _stories(
    """
    7.1 descriptions:
    a sentinel master m1
    a sentinel masters
    a sentinel replicas m1
    a sentinel slaves m1
    a sentinel sentinels m1
    a hello 3
    a sentinel master m1
    a sentinel masters
    a sentinel replicas m1
    7.1 names of valkey:
    a sentinel primary m1
    a sentinel primaries
    a sentinel get-primary-addr-by-name m1
    a sentinel primary nope
    a sentinel is-primary-down-by-addr 127.0.0.1 9 0 *
    7.1 addresses:
    a sentinel get-master-addr-by-name m1
    a sentinel get-master-addr-by-name nope
    a sentinel get-master-addr-by-name M1
    a hello 3
    a sentinel get-master-addr-by-name m1
    a sentinel get-master-addr-by-name nope
    7.1 unknown masters:
    a sentinel master nope
    a sentinel replicas nope
    a sentinel slaves nope
    a sentinel sentinels nope
    a sentinel ckquorum nope
    a sentinel remove nope
    a sentinel failover nope
    a sentinel reset nope
    a sentinel set nope quorum 1
    a sentinel info-cache nope
    a sentinel flushconfig
    7.1 the rest:
    a sentinel myid
    a sentinel pending-scripts
    a sentinel info-cache m1
    a sentinel info-cache m1 m1 nope
    a hello 3
    a sentinel info-cache m1
    7.1 help:
    a sentinel help
    7.2 ckquorum:
    a sentinel ckquorum m1
    a sentinel set m1 quorum 1
    a sentinel ckquorum m1
    a sentinel set m1 quorum 2
    7.3 opinions:
    a sentinel is-master-down-by-addr 127.0.0.1 9 0 *
    a sentinel is-master-down-by-addr 127.0.0.1 10 0 *
    a sentinel is-master-down-by-addr a b c d
    a sentinel is-master-down-by-addr a 1 c d
    a sentinel is-master-down-by-addr 127.0.0.1 70000 0 *
    a sentinel is-master-down-by-addr 127.0.0.1 09 0 *
    a sentinel is-master-down-by-addr a 1 1
    7.5 reset:
    a sentinel reset m*
    a sentinel reset [
    a sentinel reset M1
    7.6 failover:
    a sentinel failover m1
    a sentinel failover m1 foo
    a sentinel failover m1 coordinated
    7.7 monitor:
    a sentinel monitor x 1.2.3.4 70000 a
    a sentinel monitor x 1.2.3.4 z a
    a sentinel monitor x 1.2.3.4 z 0
    a sentinel monitor x 1.2.3.4 -1 0
    a sentinel monitor x foo 70000 1
    a sentinel monitor x 1.2.3.4 70000 1
    a sentinel monitor x 1.2.3.4 -1 1
    a sentinel monitor m1 1.2.3.4 7 1
    a sentinel monitor m1 foo 7 1
    a sentinel monitor x 127.0.0.1 10 1
    a sentinel master x
    a sentinel monitor x 127.0.0.1 10 1
    a sentinel remove x
    a sentinel master x
    7.7 control characters in monitor:
    a sentinel monitor "m\\n" 1.1.1.1 1 1
    a sentinel monitor a 1.1.1.1 1 "\\x01"
    7.8 simulate-failure:
    a sentinel simulate-failure foo
    a sentinel simulate-failure crash-after-election foo
    a info sentinel
    a sentinel simulate-failure crash-after-election help foo
    a info sentinel
    a sentinel simulate-failure crash-after-promotion CRASH-AFTER-ELECTION
    a info sentinel
    a sentinel simulate-failure help
    a info sentinel
    7.9 debug:
    a sentinel debug
    a sentinel debug foo
    a sentinel debug foo 1
    a sentinel debug ping-period
    a sentinel debug ping-period 0
    a sentinel debug Ping-Period abc
    a sentinel debug ping-period 500 foo 1 info-period 9
    a sentinel debug
    a sentinel debug PING-PERIOD 1000
    a hello 3
    a sentinel debug
    7.10 set:
    a sentinel set m1 quorum 3 down-after-milliseconds 7200000
    a sentinel master m1
    a sentinel set m1 quorum 2 down-after-milliseconds 3600000
    a sentinel set m1 failover-timeout 1000 parallel-syncs 3
    a sentinel master m1
    a sentinel set m1 failover-timeout 180000 parallel-syncs 1
    a sentinel set m1 master-reboot-down-after-period 5
    a sentinel set m1 master-reboot-down-after-period 0
    a sentinel set m1 auth-user u
    a sentinel set m1 auth-user ""
    a sentinel set m1 rename-command config guess
    a sentinel set m1 rename-command CONFIG config
    a sentinel set m1 rename-command config config
    7.10 set errors:
    a sentinel set nope quorum 1
    a sentinel set m1 quorum abc
    a sentinel set m1 quorum 0
    a sentinel set m1 quorum -1
    a sentinel set m1 quorum 02
    a sentinel set m1 QuoruM x
    a sentinel set m1 foo 1
    a sentinel set m1 quorum 2 foo
    a sentinel set m1 quorum 2 quorum
    a sentinel set m1 quorum 2 rename-command a
    a sentinel set m1 rename-command a ""
    a sentinel set m1 rename-command "" a
    a sentinel set m1 parallel-syncs 0
    a sentinel set m1 down-after-milliseconds 99999999999999999999
    a sentinel set m1 notification-script /bin/true
    a sentinel set m1 client-reconfig-script ""
    a sentinel set m1 master-reboot-down-after-period -1
    7.10 set of 9:
    a sentinel set m1 primary-reboot-down-after-period 3
    a sentinel set m1 primary-reboot-down-after-period 0
    a sentinel set m1 quorum "\\x01"
    a sentinel set nope "a\\n" 1
    7.10 set stops at the first bad option:
    a sentinel set m1 quorum 5 foo 1 quorum 6
    a sentinel master m1
    a sentinel set m1 quorum 2
    7.11 config get:
    a sentinel config get *
    a sentinel config get nope
    a sentinel config get ANNOUNCE-ip
    a hello 3
    a sentinel config get nope
    a sentinel config get *-port
    7.11 config set:
    a sentinel config set announce-port 1234
    a sentinel config get announce-port
    a sentinel config set announce-port 0
    a sentinel config set resolve-hostnames YES
    a sentinel config get resolve-hostnames
    a sentinel config set resolve-hostnames no
    a sentinel config set sentinel-user u
    a sentinel config get sentinel-*
    a sentinel config set sentinel-user ""
    a sentinel config set foo x
    a sentinel config set announce-port x
    a sentinel config set announce-port 70000
    a sentinel config set announce-hostnames maybe
    7.11 config of 9:
    a sentinel config get announce-port nope announce-port *
    a sentinel config set announce-port 1 announce-port 2
    a sentinel config set announce-port 0 announce-ip
    a sentinel config set loglevel verbose
    a sentinel config get loglevel
    a sentinel config set loglevel notice
    a sentinel config set loglevel foo
    a sentinel config set announce-ip "\\x01"
    a sentinel config set x
    a sentinel config foo x y
    a sentinel config set announce-port x foo bar
    """
)

GUARDED = _stories(
    """
    1.4 before the password:
    a ping
    a foo
    a quit
    a role x
    a client id
    a sentinel foo
    a auth
    a auth a b c
    a hello 9
    a hello
    a hello 3
    a hello foo
    3.2 auth:
    a auth wrong
    a auth default wrong
    a auth nobody sekret
    a auth sekret
    a ping
    a auth wrong
    a acl whoami
    a ping
    3.3 hello with auth:
    a hello 3 auth default wrong
    a ping
    a hello 3 setname me
    a hello 3 auth default sekret setname me
    a client getname
    6.1 the password of requirepass:
    a auth sekret
    a acl list
    a acl getuser default
    """
)

NAMED = _stories(
    """
    3.3 hello with the names of redis:
    a hello
    a hello 3
    a hello 2 setname x
    5.1 info with the names of redis:
    a tell server
    a TELL
    1.1 renamed commands:
    a ping
    a info
    a sentinel masters
    a watch masters
    a watch foo
    a watch master
    a WATCH get-master-addr-by-name m1
    a command count
    a command list
    a command info ping info tell sentinel watch watch|masters sentinel|masters
    a command docs ping tell watch|masters
    a command getkeys tell
    a command getkeys ping
    a command list filterby pattern *m*
    a acl cat dangerous
    a acl setuser bob on nopass +ping +info +sentinel|masters
    a acl setuser bob +tell
    a acl setuser bob +watch|masters
    a acl list
    a acl dryrun bob tell
    a acl dryrun bob info
    a acl dryrun bob watch masters
    a acl dryrun bob watch myid
    b auth bob x
    b tell sentinel
    b watch myid
    b watch masters
    a subscribe x
    a tell
    a watch masters
    a acl deluser bob
    """
)

STORIES = {**CONNECTION, **CLIENT, **PUBSUB, **PROCESS, **ACL, **SENTINEL}
