import Glibc
import Testing

@testable import FabricRuntime

@Suite struct StatusSocketTests {
    @Test(arguments: [
        (EROFS, "mount that file system writable"), (EACCES, "run as its owner"), (ENAMETOOLONG, "a shorter --state"),
    ])
    func `a status socket that can't be used names its path and the mend`(code: Int32, mend: String) {
        let text = "\(StatusSocketError(path: "/state.sock", code: code))"
        #expect(text.contains("/state.sock") && text.contains(mend))
    }

    @Test func `a path beyond what a socket's address takes is refused, not cut`() {
        #expect(throws: StatusSocketError.self) {
            _ = try StatusSocket.address("/" + String(repeating: "x", count: 200))
        }
    }
}
