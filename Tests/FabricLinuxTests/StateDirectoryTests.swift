import FabricCore
import FabricLinux
import Glibc
import Testing

@Suite struct StateDirectoryTests {
    /// A fresh path under the temporary directory, removed with the test.
    final class Temporary {
        let path: String

        init() {
            var template = Array("/tmp/rap-state-XXXXXX".utf8CString)
            mkdtemp(&template)
            path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }

        deinit { _ = try? ChildProcess.run(["rm", "-rf", path]) }

        var state: String { path + "/state" }
    }

    private func mode(_ path: String) -> UInt32 {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
    }

    @Test func `files come back after reopening, with private modes whatever the umask`() throws {
        let temporary = Temporary()
        do {
            let directory = try StateDirectory(path: temporary.state, create: true)
            try directory.write("identity", [1, 2, 3])
            try directory.write("snapshot", [UInt8](repeating: 9, count: 300_000))
            try directory.write("identity", [4])
            try directory.write("gone", [])
            try directory.delete("gone")
            try directory.delete("gone")
        }
        #expect(mode(temporary.state) == 0o700)
        #expect(mode(temporary.state + "/identity") == 0o600)
        let again = try StateDirectory(path: temporary.state, create: false)
        let files = try again.loadAll()
        #expect(files.map(\.name) == ["identity", "snapshot"])
        #expect(files[0].contents == [4])
        #expect(files[1].contents.count == 300_000)
        #expect(try again.read("absent") == nil)
    }

    @Test func `a missing directory is refused unless it may be made`() {
        let temporary = Temporary()
        #expect(throws: StateDirectoryError.missing(path: temporary.state)) {
            _ = try StateDirectory(path: temporary.state, create: false)
        }
    }

    @Test func `a directory without a parent is refused with the mend`() throws {
        let temporary = Temporary()
        let error = #expect(throws: StateDirectoryError.noParent(path: temporary.state + "/below")) {
            _ = try StateDirectory(path: temporary.state + "/below", create: true)
        }
        #expect("\(try #require(error))".contains("parent directory"))
    }

    @Test(.enabled(if: geteuid() == 0, "needs root to mount a small file system"))
    func `a read-only file system is told as such, and what is on it can still be read`() throws {
        let temporary = Temporary()
        let disk = temporary.path + "/disk"
        mkdir(disk, 0o700)
        let mounted = try ChildProcess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", disk])
        try #require(mounted.status == 0, "\(mounted.errors)")
        defer { _ = try? ChildProcess.run(["umount", disk]) }
        do {
            let directory = try StateDirectory(path: disk + "/state", create: true)
            try directory.write("identity", [1, 2, 3])
        }
        let remounted = try ChildProcess.run(["mount", "-o", "remount,ro", disk])
        try #require(remounted.status == 0, "\(remounted.errors)")
        do {
            let directory = try StateDirectory(path: disk + "/state", create: true)
            #expect(try directory.read("identity") == [1, 2, 3])
            #expect(throws: DiskError.permission) { try directory.write("identity", [4]) }
            #expect(try directory.read("identity") == [1, 2, 3])
        }
        let error = #expect(throws: StateDirectoryError.readOnlyFileSystem(path: disk + "/other")) {
            _ = try StateDirectory(path: disk + "/other", create: true)
        }
        #expect("\(try #require(error))".contains("mount it writable"))
    }

    @Test(arguments: [
        ("/var/lib/rap/agent", "write in /var/lib/rap: "), ("/var/lib/rap/", "write in /var/lib: "),
        ("/rap", "write in /: "), ("rap", "write in .: "), ("state/rap", "write in state: "),
    ])
    func `who may not make a directory is told in which one`(path: String, words: String) {
        #expect(
            "\(StateDirectoryError.parentDenied(path: path, user: 7))".contains(
                "user 7, who runs this, may not \(words)"))
    }

    @Test(.enabled(if: geteuid() == 0, "needs root to mount a file system"))
    func `a directory that may not be made is not named as one to give away`() throws {
        let temporary = Temporary()
        let terminals = temporary.path + "/terminals"
        mkdir(terminals, 0o700)
        // Nobody may make directories there, root neither.
        let mounted = try ChildProcess.run(["mount", "-t", "devpts", "devpts", terminals])
        try #require(mounted.status == 0, "\(mounted.errors)")
        defer { _ = try? ChildProcess.run(["umount", terminals]) }
        #expect(throws: StateDirectoryError.parentDenied(path: terminals + "/state", user: geteuid())) {
            _ = try StateDirectory(path: terminals + "/state", create: true)
        }
    }

    @Test func `every refusal names its path and a mend`() {
        let errors: [(StateDirectoryError, String)] = [
            (.denied(path: "/p", user: 7), "chown"), (.parentDenied(path: "/p", user: 7), "install -d -m 700 -o 7 /p"),
            (.readOnlyFileSystem(path: "/p"), "mount it writable"),
            (.noParent(path: "/p"), "make that first"), (.disk(path: "/p", .full), "make room"),
            (.disk(path: "/p", .failed(code: 5)), "kernel's log"), (.inUse(path: "/p"), "stop that one"),
            (.missing(path: "/p"), "mkdir"), (.wrongOwner(path: "/p", owner: 1, wanted: 2), "chown"),
        ]
        for (error, mend) in errors {
            #expect("\(error)".hasPrefix("/p") && "\(error)".contains(mend), "\(error)")
        }
    }

    @Test(arguments: [0o750, 0o701, 0o707] as [UInt32])
    func `a directory that is open to others is refused with the mend`(mode: UInt32) throws {
        let temporary = Temporary()
        mkdir(temporary.state, 0o700)
        chmod(temporary.state, mode)
        let error = #expect(throws: StateDirectoryError.self) {
            _ = try StateDirectory(path: temporary.state, create: true)
        }
        #expect(error == .openToOthers(path: temporary.state, mode: mode, isDirectory: true))
        #expect("\(try #require(error))".hasSuffix("chmod 700 \(temporary.state)"))
    }

    @Test func `a file that is open to others, or no file, is refused`() throws {
        let temporary = Temporary()
        mkdir(temporary.state, 0o700)
        let file = temporary.state + "/identity"
        close(open(file, O_CREAT | O_WRONLY, 0o600))
        chmod(file, 0o640)
        #expect(throws: StateDirectoryError.openToOthers(path: file, mode: 0o640, isDirectory: false)) {
            _ = try StateDirectory(path: temporary.state, create: false)
        }
        unlink(file)
        symlink("/etc/passwd", file)
        #expect(throws: StateDirectoryError.foreignEntry(path: file)) {
            _ = try StateDirectory(path: temporary.state, create: false)
        }
        unlink(file)
        mkdir(file, 0o700)
        #expect(throws: StateDirectoryError.foreignEntry(path: file)) {
            _ = try StateDirectory(path: temporary.state, create: false)
        }
    }

    @Test func `a symbolic link in place of the directory is refused`() {
        let temporary = Temporary()
        symlink("/tmp", temporary.state)
        #expect(throws: StateDirectoryError.notADirectory(path: temporary.state)) {
            _ = try StateDirectory(path: temporary.state, create: true)
        }
    }

    @Test(.enabled(if: geteuid() == 0, "needs root to give a directory away"))
    func `a directory of another user is refused`() {
        let temporary = Temporary()
        mkdir(temporary.state, 0o700)
        chown(temporary.state, 4242, 4242)
        #expect(throws: StateDirectoryError.wrongOwner(path: temporary.state, owner: 4242, wanted: 0)) {
            _ = try StateDirectory(path: temporary.state, create: false)
        }
    }

    @Test func `a directory has one owner at a time`() throws {
        let temporary = Temporary()
        let first = try StateDirectory(path: temporary.state, create: true)
        #expect(throws: StateDirectoryError.inUse(path: temporary.state)) {
            _ = try StateDirectory(path: temporary.state, create: true)
        }
        try first.write("still", [1])
    }

    @Test func `who closes it leaves it free, though a child that is being started still has it open`() throws {
        let temporary = Temporary()
        var children: [Int32] = []
        do {
            let directory = try StateDirectory(path: temporary.state, create: true)
            // As between fork and exec: the same descriptor once more.
            for descriptor in Int32(3)..<1024 {
                var link = [CChar](repeating: 0, count: 512)
                let length = max(0, readlink("/proc/self/fd/\(descriptor)", &link, link.count))
                let target = String(decoding: link[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
                if target == directory.path { children.append(dup(descriptor)) }
            }
        }
        defer { for child in children { close(child) } }
        try #require(!children.isEmpty)
        _ = try StateDirectory(path: temporary.state, create: false)
    }

    @Test func `what a crash left half-written is removed and the old contents stand`() throws {
        let temporary = Temporary()
        do {
            let directory = try StateDirectory(path: temporary.state, create: true)
            try directory.write("identity", [1])
        }
        let half = temporary.state + "/.tmp-identity"
        let descriptor = open(half, O_CREAT | O_WRONLY, 0o600)
        #expect(write(descriptor, "xx", 2) == 2)
        close(descriptor)
        let again = try StateDirectory(path: temporary.state, create: false)
        #expect(access(half, F_OK) != 0)
        #expect(try again.read("identity") == [1])
    }

    @Test func `a file beyond the limit is refused, not read`() throws {
        let temporary = Temporary()
        let directory = try StateDirectory(path: temporary.state, create: true)
        try directory.write("big", [1])
        truncate(temporary.state + "/big", Int(StateDirectory.maximumFileBytes) + 1)
        #expect(throws: StateDirectoryError.self) { _ = try directory.read("big") }
    }

    @Test(.enabled(if: geteuid() == 0, "needs root to mount a small file system"))
    func `a full disk is a typed error and loses nothing`() throws {
        let temporary = Temporary()
        let disk = temporary.path + "/disk"
        mkdir(disk, 0o700)
        let mounted = try ChildProcess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", disk])
        try #require(mounted.status == 0, "\(mounted.errors)")
        defer { _ = try? ChildProcess.run(["umount", disk]) }
        do {
            let directory = try StateDirectory(path: disk, create: false)
            try directory.write("identity", [1, 2, 3])
            #expect(throws: DiskError.full) { try directory.write("identity", [UInt8](repeating: 7, count: 200_000)) }
            #expect(try directory.read("identity") == [1, 2, 3])
            #expect(access(disk + "/.tmp-identity", F_OK) != 0)
            // A process that another test has just forked holds the removed file, and its room, until it execs.
            var isWritten = false
            for _ in 0..<500 where !isWritten {
                isWritten = (try? directory.write("identity", [4])) != nil
                if !isWritten { usleep(10_000) }
            }
            #expect(try directory.read("identity") == [4])
        }
    }

    @Test(arguments: [
        ("identity", true), ("a.b-c_D9", true), ("", false), (".hidden", false), ("a/b", false), ("ä", false),
    ])
    func `names are plain`(name: String, isName: Bool) { #expect(StateDirectory.isName(name) == isName) }
}
