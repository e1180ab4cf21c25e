import Foundation
import Overlays
import Testing

@testable import MountServer

/// What is said on a control socket, and what is not.
@Suite struct ControlRequestTests {
  @Test func namesAreAnyText() throws {
    for name in [
      "before", "two words", "new\nline", "\"quoted\\", "größe 数据 💾", "\u{0}", "", "../x",
    ] {
      let request = ControlRequest(.createSnapshot, name: name)
      #expect(request.line.hasSuffix("\n") && request.line.dropLast().allSatisfy { $0 != "\n" })
      #expect(ControlRequest(line: Array(request.line.utf8.dropLast())) == request)
    }
    let plain = ControlRequest(.status)
    #expect(plain.line == "{\"verb\":\"status\"}\n")
    #expect(ControlRequest(line: Array(plain.line.utf8.dropLast())) == plain)
  }

  @Test(arguments: [
    "", "status", "{}", "[]", "{\"verb\":\"format\"}", "{\"verb\":1}",
    "{\"verb\":\"revert\",\"name\":1}",
    "{\"verb\":\"save\"", "\u{0}",
  ])
  func nonsense(_ line: String) {
    #expect(ControlRequest(line: Array(line.utf8)) == nil)
  }

  @Test func nonsenseInBytes() {
    #expect(ControlRequest(line: [0xFF, 0xFE, 0x00]) == nil)
    let long = ControlRequest(
      .revert, name: String(repeating: "x", count: ControlRequest.longestLine))
    #expect(ControlRequest(line: Array(long.line.utf8.dropLast())) == nil)
  }

  @Test func answers() throws {
    let failed = ControlAnswer.failed("work.qcow2: no\nroom")
    let text = JSON.text(of: failed)
    #expect(!text.contains("\n") && JSON.value(from: text) == failed)
    #expect(JSON.value(from: "{}") == ControlAnswer())
    let none: ControlAnswer? = JSON.value(from: "")
    #expect(none == nil, "a daemon that died has answered nothing")
  }
}

/// Clients that say nothing, too much, or little by little.
@Suite struct IncomingRequestsTests {
  /// The far ends and the near ones of connections.
  private final class Pairs {
    private(set) var near: [CInt] = []
    private(set) var far: [CInt] = []

    init(_ count: Int) {
      for _ in 0..<count {
        var ends: [CInt] = [-1, -1]
        socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends)
        near.append(ends[0])
        far.append(ends[1])
      }
    }

    deinit { for end in near + far { close(end) } }

    func say(_ text: String, _ index: Int = 0) {
      _ = text.utf8CString.withUnsafeBytes { send(far[index], $0.baseAddress, text.utf8.count, 0) }
    }
  }

  @Test func byteByByte() {
    let pairs = Pairs(2)
    var incoming = IncomingRequests()
    #expect(
      incoming.add(pairs.near[0], now: 0) == nil && incoming.add(pairs.near[1], now: 0) == nil)
    #expect(incoming.listen(to: pairs.near[1]) == .incomplete, "nothing is waited for")
    let request = ControlRequest(.createSnapshot, name: "a b")
    for character in request.line.dropLast() {
      pairs.say(String(character))
      #expect(incoming.listen(to: pairs.near[0]) == .incomplete)
    }
    pairs.say("\nmore")
    #expect(incoming.listen(to: pairs.near[0]) == .request(request))
    #expect(incoming.descriptors == [pairs.near[1]])
  }

  @Test func tooMuch() {
    let pairs = Pairs(1)
    var incoming = IncomingRequests()
    _ = incoming.add(pairs.near[0], now: 0)
    var said = 0
    var word = IncomingRequests.Word.incomplete
    while word == .incomplete, said < 10 * ControlRequest.longestLine {
      pairs.say(String(repeating: "{", count: 1000))
      said += 1000
      word = incoming.listen(to: pairs.near[0])
    }
    #expect(word == .nonsense && said <= ControlRequest.longestLine + 1000)
    #expect(incoming.descriptors.isEmpty)
  }

  @Test func goneAndWrong() {
    let pairs = Pairs(2)
    var incoming = IncomingRequests()
    for end in pairs.near { _ = incoming.add(end, now: 0) }
    pairs.say("what?\n", 1)
    #expect(incoming.listen(to: pairs.near[1]) == .nonsense)
    shutdown(pairs.far[0], CInt(SHUT_WR))
    #expect(incoming.listen(to: pairs.near[0]) == .gone)
    #expect(incoming.descriptors.isEmpty)
  }

  @Test func theSlowAndTheMany() {
    let pairs = Pairs(IncomingRequests.most + 1)
    var incoming = IncomingRequests()
    for (index, end) in pairs.near.dropLast().enumerated() {
      #expect(incoming.add(end, now: index < 2 ? 0 : 1) == nil)
    }
    #expect(incoming.add(pairs.near[IncomingRequests.most], now: 2) == pairs.near[0])
    #expect(incoming.takeLate(now: IncomingRequests.patience - 1).isEmpty)
    #expect(incoming.takeLate(now: IncomingRequests.patience) == [pairs.near[1]])
    #expect(
      incoming.takeLate(now: IncomingRequests.patience + 1).count == IncomingRequests.most - 2)
    #expect(incoming.descriptors == [pairs.near[IncomingRequests.most]])
  }
}
