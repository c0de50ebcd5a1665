"""Real mail servers on loopback, from a temporary folder, for tests and benchmarks.

    processes      a server process in its own group, free ports, waiting until something listens
    tls            a throw-away CA and its certificates
    dovecot        IMAP, LMTP and the sign-in socket                      (Debian: dovecot-imapd …)
    postfix        submission with AUTH and TLS, delivers into Dovecot    (Debian: postfix)
    mailprovider   Dovecot and Postfix as one provider with two people
    courier        an IMAP server without SPECIAL-USE                     (Debian: courier-imap, unpacked into a folder)
    cyrus          an IMAP server that says `\\sent` in lower case        (Debian: cyrus-imapd, unpacked into a folder)
    smtp_sink      Postfix's sink: takes everything, keeps nothing
    scripted       a submission server that does on demand what real ones will not
    delay          a forwarder that puts the provider some milliseconds away

All of them but the last three start as root (they change to users of their own); the folder that they are given must
be open to others (mode 0755 all the way), because they read their part of it as those users. Nothing outside the
folder is written, and no process outlives the interpreter that started it.
"""
